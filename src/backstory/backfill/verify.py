"""Checks a loaded database against the gates, and rebuilds a sample of it from the log."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from backstory.backfill.gates import GATES, Gate, Severity
from backstory.backfill.rebuild import SampleResult, rebuild_sample
from backstory.extract.line_rules import LineRules, our_rules
from backstory.store.engine import translated
from backstory.store.lines import extent
from backstory.store.statements import sql


@dataclass(frozen=True)
class GateResult:
    """What a gate found; `passed` is always true of an `info` gate, which only shows."""

    name: str
    severity: Severity
    passed: bool
    count: int
    sentence: str
    offenders: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class Verdict:
    """What came of all gates, and of the sample if one was asked for.

    `stale_lines` counts events that other rules rendered than those of today, or none yet: nothing
    is wrong with them, and `backstory render` makes their lines anew.
    """

    gates: list[GateResult]
    sample: SampleResult | None
    stale_lines: int = 0

    @property
    def ok(self) -> bool:
        """Whether every required gate holds and the sample is what the log says."""
        return not self.failed and (self.sample is None or self.sample.ok)

    @property
    def failed(self) -> list[GateResult]:
        """The required gates that found something."""
        return [g for g in self.gates if g.severity is Severity.REQUIRED and not g.passed]

    @property
    def warnings(self) -> list[GateResult]:
        """The other gates that found more than they should."""
        return [g for g in self.gates if g.severity is Severity.WARN and not g.passed]

    def as_json(self) -> dict[str, Any]:
        """Return the verdict as JSON."""
        return {"ok": self.ok, **asdict(self)}


def verify(
    connection: Connection,
    *,
    now: datetime,
    sample: int = 0,
    seed: str = "",
    gates: Sequence[Gate] = GATES,
    lines: LineRules | None = None,
) -> Verdict:
    """Check every gate from our own tables, and rebuild `sample` conversations from the log.

    `now` is the clock that times in the future are told by; `seed` draws another sample; `lines`
    are the rules of today, None for ours. Reads only, in the caller's transaction.
    """
    with translated():
        connection.execute(sql("tune_for_sweep"))
        results = [_check(connection, gate, now) for gate in gates]
        rebuilt = rebuild_sample(connection, sample, seed=seed) if sample else None
        stale = extent(connection, lines or our_rules()).stale
    return Verdict(results, rebuilt, stale)


def _check(connection: Connection, gate: Gate, now: datetime) -> GateResult:
    started = time.monotonic()
    found = gate(connection, now)
    return GateResult(
        name=gate.name,
        severity=gate.severity,
        passed=gate.severity is Severity.INFO or not found.offenders,
        count=found.count,
        sentence=gate.sentence,
        offenders=found.offenders,
        seconds=time.monotonic() - started,
    )

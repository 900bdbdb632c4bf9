"""Tells whether memory can be switched on: a list of checks, each with what stands against it.

`backstory ready` prints it. Reads only; the checks share one transaction, so that they see one
state of the data.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from backstory.backfill.verify import Verdict, verify
from backstory.store import agent_role
from backstory.store import readiness as store
from backstory.store.engine import Database, translated
from backstory.store.schema import schema_state
from backstory.tools.catalog import TOOLS
from backstory.tools.check import CHECKS
from backstory.tools.check_providers import JudgeMissing
from backstory.tools.tool import Tool

# The gates that say whose is what; the others say whether all is there.
_LINKED = frozenset({"leads_linked", "conversations_have_customers"})


@dataclass(frozen=True)
class Finding:
    """A check with what stands against it; without offenders it is fine. `remark` only informs."""

    name: str
    sentence: str
    offenders: tuple[str, ...] = ()
    remark: str = ""

    @property
    def passed(self) -> bool:
        """Whether nothing stands against it."""
        return not self.offenders


@dataclass(frozen=True)
class Readiness:
    """What was found; a check that could not be made for another's sake is not in it."""

    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether memory can be switched on."""
        return all(finding.passed for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """Return what was found under the keys of --json."""
        return {
            "ready": self.ok,
            "checks": [asdict(each) | {"passed": each.passed} for each in self.findings],
        }


def outdated(sentence: str) -> Readiness:
    """Return what is found of a database that nothing else can be looked at in."""
    return Readiness((_schema([sentence]),))


def readiness(database: Database, *, now: datetime, tools: Sequence[Tool] = TOOLS) -> Readiness:
    """Look whether the data, the rights and the tools are fit for memory.

    A large database takes as long as `backstory verify`. Raises DatabaseUnreachable.
    """
    with translated(), database.engine.connect() as connection:
        connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        state = schema_state(connection, database.schema)
        if not state.current:
            return outdated(
                f"{state.schema} has revision {state.revision}, wanted is {state.head}: "
                "run `backstory db upgrade`"
            )
        return Readiness(
            (
                _schema([]),
                *_apart(connection, database.schema),
                Finding(
                    "indexes_valid",
                    "Every index is there and valid.",
                    tuple(store.unsound_indexes(connection, database.schema)),
                ),
                *_data(verify(connection, now=now)),
                _tools(tools),
            )
        )


def _schema(offenders: Sequence[str]) -> Finding:
    return Finding(
        "schema_current", "The schema is the one this version works with.", tuple(offenders)
    )


def _apart(connection: Connection, schema: str) -> Iterable[Finding]:
    """Yield what is found about keeping one customer from another."""
    lacking = agent_role.missing(connection, schema)
    if lacking:
        lacking.append(agent_role.advice(schema))
    yield Finding(
        "agent_role",
        "The role of agents is there, owns nothing, and has the rights it needs.",
        tuple(lacking),
    )
    yield Finding(
        "rows_protected",
        "Row-level security binds every table of a customer's to the session's customer.",
        tuple(store.unprotected_tables(connection, schema)),
    )
    if not lacking:
        yield Finding(
            "nobody_sees_nothing",
            "A session of nobody sees no row of anybody.",
            tuple(store.seen_by_nobody(connection, schema)),
        )


def _data(verdict: Verdict) -> Iterable[Finding]:
    """Yield what the gates found, those about customers apart from the others."""
    failed = {
        gate.name: f"{gate.name}: {', '.join(gate.offenders[:3])}{_more(gate.count)}"
        for gate in verdict.failed
    }
    yield Finding(
        "customers_linked",
        "Every lead and every conversation has the customer it belongs to.",
        tuple(said for name, said in failed.items() if name in _LINKED),
    )
    warned = ", ".join(gate.name for gate in verdict.warnings)
    yield Finding(
        "gates_green",
        "Every gate of `backstory verify` that must hold does.",
        tuple(said for name, said in failed.items() if name not in _LINKED),
        remark=f"{warned} warn" if warned else "",
    )


_SHOWN = 3


def _more(count: int) -> str:
    return f" and {count - _SHOWN:,} more" if count > _SHOWN else ""


def _tools(tools: Sequence[Tool]) -> Finding:
    """Hold the tools to their suite, as far as the judges are installed that it asks."""
    found, unasked = list[str](), 0
    for check in CHECKS:
        try:
            wrong = () if check.informs else tuple(check.find(tools))
        except JudgeMissing:
            unasked += 1
            continue
        found += [f"{check.name}: {each}" for each in dict.fromkeys(wrong)]
    left = f"{unasked} checks need backstory[check]: `backstory tools --check`" if unasked else ""
    return Finding("tools_valid", "The tools hold to their suite.", tuple(found), remark=left)

"""What a backfill is asked to do, as one frozen value that a resumed run reads again."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import phonenumbers

from backstory.audit.connect import is_url
from backstory.audit.source import Kind, mapping_for
from backstory.config import FEWEST_FOR_A_HUB
from backstory.errors import UsageError
from backstory.extract.customers import HUB_LIMIT
from backstory.extract.line_rules import LineRules, our_rules
from backstory.model import OWN_LOG, Role, RunMode

DEFAULT_LOG = "audit"
UNKNOWN_ACTOR = {"skip": None, "system": Role.SYSTEM}


@dataclass(frozen=True)
class BackfillOptions:
    """Sources are paths, `-` or postgresql:// URLs; no `leads` means they come from the log.

    `columns` maps a field of ours to the source's name for it; `assume_tz` is the zone of times
    that name none; `region` that of phone numbers without a country; a phone or e-mail shared by
    more than `hub_limit` otherwise unconnected identities links nobody; `lines` are the rules by
    which events are rendered, None for ours.
    """

    audit: tuple[str, ...]
    leads: tuple[str, ...] = ()
    log: str = DEFAULT_LOG
    audit_table: str | None = None
    lead_table: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    workers: int = 1
    assume_tz: str = "UTC"
    region: str = "US"
    unknown_actor: str = "skip"
    allow_empty: bool = False
    hub_limit: int = HUB_LIMIT
    mode: RunMode = RunMode.BACKFILL
    listed: bool = False
    lines: LineRules | None = None

    @property
    def rules(self) -> LineRules:
        """The rules by which events are rendered."""
        return self.lines or our_rules()

    def check(self) -> "BackfillOptions":
        """Return these options, normal and possible; raise UsageError otherwise."""
        if not self.audit:
            raise UsageError("Name at least one audit log: --audit FILE, `-` or postgresql://…")
        if self.log == OWN_LOG or not self.log.strip():
            raise UsageError(f"--log cannot be {self.log!r}: choose another name for your log.")
        if (self.audit + self.leads).count("-") > 1:
            raise UsageError("`-` means standard input and can be given once.")
        self._check_tables()
        if self.unknown_actor not in UNKNOWN_ACTOR:
            raise UsageError("--unknown-actor is `skip` or `system`.")
        if not 1 <= self.workers <= _MOST_WORKERS:
            raise UsageError(f"--workers goes from 1 to {_MOST_WORKERS}.")
        if self.hub_limit < FEWEST_FOR_A_HUB:
            raise UsageError(f"--hub-limit is at least {FEWEST_FOR_A_HUB}.")
        if self.region.upper() not in phonenumbers.SUPPORTED_REGIONS:
            raise UsageError(f"--region {self.region!r} is no country code such as US, GB or DE.")
        try:
            ZoneInfo(self.assume_tz)
        except (ZoneInfoNotFoundError, ValueError, OSError) as bad:
            raise UsageError(
                f"--assume-tz {self.assume_tz!r} is no time zone such as UTC or Europe/Berlin."
            ) from bad
        return replace(self, region=self.region.upper(), listed=bool(self.leads) or self.listed)

    def _check_tables(self) -> None:
        for name, table, given in (
            ("audit", self.audit_table, self.audit),
            ("lead", self.lead_table, self.leads),
        ):
            if table is not None and not any(map(is_url, given)):
                source = "--audit" if name == "audit" else "--leads"
                raise UsageError(
                    f"--{name}-table names a table behind a postgresql:// URL, and {source} names "
                    "none: leave it out, or give the URL."
                )

    def columns_of(self, kind: Kind) -> Mapping[str, str]:
        """Return the part of `columns` that concerns one kind of source."""
        return mapping_for(kind, self.columns)

    def as_json(self) -> dict[str, Any]:
        """Return these options as JSON; of the rules only the name."""
        written = asdict(replace(self, lines=None))
        return written | {"columns": dict(self.columns), "lines": self.rules.name}


_MOST_WORKERS = 64

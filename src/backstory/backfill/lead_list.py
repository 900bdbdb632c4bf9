"""The given lists of leads as a run reads them, and what it has to say of them."""

from collections.abc import Iterator, Sequence
from typing import Any
from zoneinfo import ZoneInfo

from backstory.audit.source import Kind, Oversized, Row, Source
from backstory.backfill.counts import Counts
from backstory.backfill.fit import Look, keys_of, misfits
from backstory.backfill.options import BackfillOptions
from backstory.extract.identity import lead_id
from backstory.extract.judge import Keys
from backstory.extract.leads import LeadRecord, parse_lead
from backstory.extract.parse import Unreadable
from backstory.model import Heed, heedless

_ERRORS_SHOWN = 20
_NAMES_SHOWN = 3


class LeadList:
    """The given lists of leads, read anew at each iteration, without those that were erased.

    What is unreadable is noted, and what is odd about a list as a whole. `heed` is called at every
    row: it may raise.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        options: BackfillOptions,
        erased: Keys,
        *,
        heed: Heed = heedless,
    ) -> None:
        self._sources = sources
        self._erased = erased
        self._heed = heed
        self._zone = ZoneInfo(options.assume_tz)
        self._region = options.region
        self._begin()

    def _begin(self) -> None:
        self._left = self._unreadable = 0
        self._errors: list[str] = []
        self._seen: dict[str, Counts] = {}
        self._names: list[str] = []
        self._have_keys = False

    def __iter__(self) -> Iterator[LeadRecord]:
        self._begin()
        for number, source in enumerate(self._sources):
            look = Look(source.columns, first=True)
            count = 0
            for row in source.read():
                count += 1
                self._heed()
                if not look.is_over:
                    look.at(row[1])
                lead = self._lead(source, row, look)
                if lead is not None:
                    yield lead
            self._seen[str(number)] = look.counts(count)

    def _lead(self, source: Source, row: Row, look: Look) -> LeadRecord | None:
        position, line = row
        try:
            if isinstance(line, Oversized):
                raise Unreadable("too_large", f"A lead of {line.size} bytes is too large.")  # noqa: TRY301 - one way for all reasons
            lead = parse_lead(
                line, columns=source.columns, assume_tz=self._zone, region=self._region
            )
        except Unreadable as reason:
            look.unreadable(reason.code)
            self._unreadable += 1
            if len(self._errors) < _ERRORS_SHOWN:
                self._errors.append(f"{source.where(position)}: {reason}")
            return None
        if lead_id(lead.external_id) in self._erased:
            self._left += 1
            return None
        self._have_keys = self._have_keys or bool(lead.keys)
        if len(self._names) < _NAMES_SHOWN:
            self._names.append(lead.external_id)
        return lead

    def findings(self) -> dict[str, Any]:
        """Return what was left aside, and the errors as far as they are shown."""
        return {
            "leads_unreadable": self._unreadable,
            "leads_erased": self._left,
            "leads_named": self._names,
            "unlinkable": self._unlinkable(),
            "errors": misfits(Kind.LEAD, self._sources, self._seen) + self._errors,
        }

    def _unlinkable(self) -> str | None:
        """Return what to say of lists in which nobody can be told to be somebody else, too."""
        if self._have_keys or not self._names:
            return None
        return (
            "No listed lead has a messenger id, a phone or an e-mail address that could link it: "
            f"each is a customer of its own. {keys_of(self._seen.values())} If one of these is an "
            "identity, name it with --map messenger_psid=COLUMN, --map phone=COLUMN or "
            "--map email=COLUMN."
        )

"""Says when a source as a whole is not what it was taken for: another file, or other columns.

One record without a lead is nothing to speak of. When none of a source's records has one, its lead
is under another name, or it is another file; then the keys there are, and the option that names
one of them, are what a reader needs.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from backstory.audit.rows import FIELDS, Kind, Oversized
from backstory.audit.source import Source
from backstory.backfill.counts import Counts
from backstory.extract.judge import Left
from backstory.extract.parse import Unreadable, strict_json
from backstory.model import SkipReason

_SAMPLED = 20
_KEYS_SHOWN = 20
_EXAMPLES = 3
_TEXT_SHOWN = 60
_ALIASES = {
    "lead_id": "leadId",
    "created_at": "createdAt",
    "messenger_psid": "messengerPsid",
    "state_metadata": "stateMetadata",
}
# What every record of a source can have in common when a column is not the one it was taken for.
_FIELD_OF = {
    "no_id": "id",
    "bad_time": "created_at",
    SkipReason.NO_LEAD: "lead_id",
    SkipReason.LEAD_NOT_FOUND: "lead_id",
    SkipReason.UNKNOWN_ACTOR: "actor",
    SkipReason.NO_TEXT: "payload",
}
# Of these the quarantine says more than a sentence could, once the field is there.
_SAID_BY_QUARANTINE = frozenset({"no_id", "bad_time"})
_SHARED_FIELDS = frozenset(FIELDS[Kind.AUDIT]) & frozenset(FIELDS[Kind.LEAD])


class Look:
    """A look at the records of one source while they are read; its `counts` add up.

    The keys and examples are those of the first records: they must not depend on how a source
    was cut. A column that `--map` names is looked for until a record has it.
    """

    def __init__(self, columns: Mapping[str, str], *, first: bool) -> None:
        self._wanted = {field: column for field, column in columns.items() if column}
        self._left = _SAMPLED if first else 0
        self._first = first
        self._counts: dict[str, Counter[str]] = {
            name: Counter() for name in ("keys", "mapped", "skipped", "unreadable")
        }
        self._examples: Counter[str] = Counter()

    @property
    def is_over(self) -> bool:
        """Whether more records tell nothing new."""
        return not self._left and not self._wanted

    def at(self, raw: bytes | Oversized) -> None:
        """Look at the keys of one more record."""
        self._left = max(self._left - 1, 0)
        try:
            record = {} if isinstance(raw, Oversized) else strict_json(raw)[0]
        except Unreadable:
            return
        if self._first and sum(self._counts["keys"].values()) < _SAMPLED * _KEYS_SHOWN:
            self._counts["keys"].update(key[:_TEXT_SHOWN] for key in record)
        for field in [name for name, column in self._wanted.items() if column in record]:
            self._counts["mapped"][field] += 1
            del self._wanted[field]

    def left_out(self, left: Left) -> None:
        """Count a record that makes no message."""
        if left.raw is not None:
            self.unreadable(left.reason)
            return
        self._counts["skipped"][left.reason] += 1
        if self._first and len(self._examples) < _EXAMPLES:
            not_found = left.reason == SkipReason.LEAD_NOT_FOUND
            said = left.lead_external_id if not_found else left.actor
            self._examples[(said or "")[:_TEXT_SHOWN]] += 1

    def unreadable(self, code: str) -> None:
        """Count a record or lead that cannot be read."""
        self._counts["unreadable"][code] += 1

    def counts(self, records: int) -> Counts:
        """Return what was found in so many records."""
        found = {name: dict(counter) for name, counter in self._counts.items()}
        return {"records": records, "examples": dict(self._examples), **found}


def misfits(
    kind: Kind, sources: Sequence[Source], seen: Mapping[str, Counts], leads: Iterable[str] = ()
) -> list[str]:
    """Return a sentence for each source that does not fit, with the option that may help.

    `seen` has the counts of a `Look` by the number of the source, `leads` are ids of the list.
    """
    said = []
    for number, source in enumerate(sources):
        found = seen.get(str(number))
        if found and found["records"]:
            said += _misfits(kind, source, found, ", ".join(leads))
    return said


def _misfits(kind: Kind, source: Source, found: Counts, leads: str) -> list[str]:
    columns = {field: column for field, column in source.columns.items() if column}
    missing = [field for field in columns if field not in found["mapped"]]
    said = [
        f"{source.label}: no record has {columns[field]!r}, which --map names as {field}. "
        f"{_keys(found)}"
        for field in missing
    ]
    reason = _common_reason(found)
    field = _FIELD_OF.get(reason or "")
    # What is said not to be there is no surprise.
    if reason is None or field is None or field in missing or source.columns.get(field) == "":
        return said
    name = columns.get(field, field)
    option = f"--map {kind}.{field}=COLUMN" if field in _SHARED_FIELDS else f"--map {field}=COLUMN"
    if not {name[:_TEXT_SHOWN], _ALIASES.get(field, name)} & found["keys"].keys():
        rest = f"has {name!r}. {_keys(found)} Name the one that holds it with {option}"
        said.append(f"{source.label}: none of its {_records(found)} {rest}; or is it another file?")
    elif reason not in _SAID_BY_QUARANTINE:
        said.append(f"{source.label}: {_told(reason, name, found, leads)} {option}.")
    return said


def _common_reason(found: Counts) -> str | None:
    """Return why no record at all makes a message, if that is one and the same reason."""
    readable = found["records"] - sum(found["unreadable"].values())
    reasons: dict[str, int] = found["skipped"] if readable else found["unreadable"]
    for reason, count in reasons.items():
        if count == (readable or found["records"]):
            return reason
    return None


def _told(reason: str, name: str, found: Counts, leads: str) -> str:
    """Return what the records say in a field that is there, up to the option that may help."""
    all_of = f"all of its {_records(found)}"
    examples = ", ".join(sorted(found["examples"]))
    if reason == SkipReason.LEAD_NOT_FOUND:
        return (
            f"{all_of} name leads that no list holds. The log says {examples}; the list says "
            f"{leads or 'nothing'}. If these are not the same ids, use --map lead.id=COLUMN or"
        )
    if reason == SkipReason.UNKNOWN_ACTOR:
        return (
            f"the actor of {all_of} is unknown ({examples}). Take them for the system with "
            "--unknown-actor system, or name another column with"
        )
    return f"{name!r} is empty in {all_of}. Name another column with"


def _records(found: Counts) -> str:
    number = sum(found["skipped"].values()) or found["records"]
    return f"{number:,} record{'' if number == 1 else 's'}"


def _keys(found: Counts) -> str:
    return keys_of([found])


def keys_of(looks: Iterable[Counts]) -> str:
    """Return a sentence with the keys of the first records, from the counts of some looks."""
    keys = sorted({key for found in looks for key in found["keys"]})
    more = ", …" if len(keys) > _KEYS_SHOWN else ""
    return f"The first records have {', '.join(keys[:_KEYS_SHOWN]) or 'no key'}{more}."

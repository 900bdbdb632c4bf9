"""What every source yields: rows of JSON with their position, and the segments they come in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from backstory.errors import SourceError, UsageError

MAX_LINE_BYTES = 16 * 1024 * 1024
HEAD_BYTES = 64 * 1024


class Kind(StrEnum):
    """What the rows of a source describe."""

    AUDIT = "audit"
    LEAD = "lead"


@dataclass(frozen=True, slots=True)
class Oversized:
    """A line beyond MAX_LINE_BYTES: its first HEAD_BYTES and its whole size in bytes."""

    head: bytes
    size: int


# The 1-based number of a line or row, and one record as JSON bytes without a newline.
Row = tuple[int, bytes | Oversized]


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a source that one worker process reads on its own.

    `source` is the index in the list of sources and `number` counts the segments of all of them;
    `start` and `stop` are bytes of a plain file (`stop` None: to its end), unused otherwise;
    `first_line` is the 1-based number of the first line in the piece.
    """

    source: int = 0
    number: int = 0
    start: int = 0
    stop: int | None = None
    first_line: int = 1


WHOLE = Segment()

FIELDS: Mapping[Kind, tuple[str, ...]] = {
    Kind.AUDIT: ("id", "lead_id", "actor", "action", "payload", "created_at"),
    Kind.LEAD: (
        "id",
        "customer_id",
        "channel",
        "messenger_psid",
        "phone",
        "email",
        "name",
        "stage",
        "state_metadata",
        "created_at",
    ),
}
# Without one of these a whole table or file would be quarantined row by row, or misread.
_REQUIRED: Mapping[Kind, frozenset[str]] = {
    Kind.AUDIT: frozenset(FIELDS[Kind.AUDIT]),
    Kind.LEAD: frozenset({"id", "created_at"}),
}
JSON_FIELDS = frozenset({"payload", "state_metadata"})


def bounded(line: bytes) -> bytes | Oversized:
    """Return `line`, or its head when it is longer than MAX_LINE_BYTES."""
    if len(line) <= MAX_LINE_BYTES:
        return line
    return Oversized(head=line[:HEAD_BYTES], size=len(line))


def mapping_for(kind: Kind, columns: Mapping[str, str]) -> dict[str, str]:
    """Return field -> column as `--map` asks for this kind of source.

    A key is a field name, for both kinds, or `audit.FIELD` and `lead.FIELD`, for one, which wins.
    An empty column says that the source has none. Raises UsageError for an unknown field.
    """
    known = {name for names in FIELDS.values() for name in names}
    known |= {f"{each}.{name}" for each, names in FIELDS.items() for name in names}
    for key in columns:
        if key not in known:
            raise UsageError(
                f"--map {key}=… names no field of ours; the fields are {', '.join(FIELDS[kind])}, "
                f"or {kind}.FIELD when only that source is meant."
            )
    mine = {key: column for key, column in columns.items() if key in FIELDS[kind]}
    prefix = f"{kind}."
    scoped = {
        key.removeprefix(prefix): column
        for key, column in columns.items()
        if key.startswith(prefix)
    }
    return mine | scoped


def resolve_columns(
    kind: Kind, available: Sequence[str], chosen: Mapping[str, str], *, where: str
) -> dict[str, str]:
    """Return field -> column for the fields that `where` has, in our order of fields.

    `chosen` (see `mapping_for`) decides first, then the field's own name, its camelCase form, and
    at last the same letters whatever the case. Raises SourceError for a column that is missing, or
    there twice.
    """
    found: dict[str, str] = {}
    for field in FIELDS[kind]:
        column = chosen[field] if field in chosen else find_column(field, available)
        if column and available.count(column) > 1:
            raise SourceError(f"{where} has {column!r} twice: rename one of the columns.")
        if column and column in available:
            found[field] = column
        elif column or (column is None and field in _REQUIRED[kind]):
            raise _missing(kind, field, column, available, where)
    return found


def find_column(field: str, available: Sequence[str]) -> str | None:
    """Return the column that is named like `field`, in whatever case it is written."""
    head, *rest = field.split("_")
    for name in (field, head + "".join(part.capitalize() for part in rest)):
        if name in available:
            return name
    return next((name for name in available if _letters(name) == _letters(field)), None)


def _letters(name: str) -> str:
    return name.replace("_", "").replace(" ", "").casefold()


def _missing(
    kind: Kind, field: str, column: str | None, available: Sequence[str], where: str
) -> SourceError:
    what = f"no column {column!r} for {field}" if column else f"no column for {field}"
    return SourceError(
        f"{where} has {what}; its columns are {', '.join(available)}. Name the right one with "
        f"--map {kind}.{field}=COLUMN, or say that there is none with --map {kind}.{field}="
    )

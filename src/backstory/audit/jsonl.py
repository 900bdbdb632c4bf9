"""A file of JSON lines as a source: the one that splits into ranges for several workers."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from backstory.audit.files import DAMAGE, InputFile, Packing, unreadable
from backstory.audit.lines import BOM, blocks, cut_at_lines, without_bom
from backstory.audit.rows import WHOLE, Oversized, Row, Segment
from backstory.errors import SourceError


@dataclass(frozen=True, slots=True)
class JsonLines:
    """A file with one JSON object a line; its lines are passed on as they are.

    `columns` is field -> key from `--map`: whoever parses the lines applies it.
    """

    file: InputFile
    columns: Mapping[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """How findings name the file."""
        return self.file.label

    def check(self) -> None:
        """Raise SourceError when the file holds JSON in another shape than lines."""
        head = self.file.head().removeprefix(BOM).lstrip()
        name = self.file.path.name
        if head.startswith(b"["):
            raise SourceError(
                f"{self.label} is a JSON array; Backstory reads one object a line. "
                f"Convert it: jq -c '.[]' {name} > lines.jsonl"
            )
        first, newline, _ = head.partition(b"\n")
        if newline and first.rstrip() == b"{":
            raise SourceError(
                f"{self.label} spreads an object over several lines; Backstory reads one object "
                f"a line. Convert it: jq -c . {name} > lines.jsonl"
            )

    def estimated_bytes(self) -> int:
        """Return the size of the unpacked lines in bytes, estimated for an archive."""
        return self.file.unpacked_bytes()

    def segments(self, pieces: int) -> list[Segment]:
        """Cut a plain file into at most `pieces` ranges of whole lines; an archive is one."""
        if self.file.packing is not Packing.PLAIN or pieces <= 1:
            return [WHOLE]
        try:
            with self.file.path.open("rb", buffering=0) as raw:
                return cut_at_lines(raw, self.estimated_bytes(), pieces)
        except OSError as cause:
            raise unreadable(self.label, cause) from cause

    def read(self, segment: Segment = WHOLE) -> Iterator[Row]:
        """Yield the lines that are not blank; SourceError when the file is damaged."""
        number = segment.first_line - 1
        chunks = self.file.chunks(segment.start, segment.stop)
        try:
            for block in blocks(chunks if segment.start else without_bom(chunks)):
                if isinstance(block, Oversized):
                    number += 1
                    yield number, block
                    continue
                for line in block:
                    number += 1
                    if line.endswith(b"\r"):
                        line = line[:-1]  # noqa: PLW2901 - this loop runs once a line
                    if line and not line.isspace():
                        yield number, line
        except DAMAGE as cause:
            raise self.file.damaged(number + 1, cause) from cause

    def where(self, position: int) -> str:
        """Name a line: `audit.jsonl:17`."""
        return self.file.where(position)

    def fingerprint(self) -> str:
        """Return what changes when the file does."""
        return self.file.fingerprint()

"""Splits chunks of bytes into lines, and a file into ranges of whole lines, in bounded memory."""

from collections.abc import Iterable, Iterator
from typing import BinaryIO

from backstory.audit.rows import HEAD_BYTES, MAX_LINE_BYTES, Oversized, Segment

CHUNK_BYTES = 256 * 1024
BOM = b"\xef\xbb\xbf"


class _Unfinished:
    """A line whose end has not been seen; beyond `limit` bytes only its head is kept."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []
        self._size = 0

    def add(self, piece: bytes) -> None:
        before, self._size = self._size, self._size + len(piece)
        if self._size <= self._limit:
            self._pieces.append(piece)
        elif before <= self._limit or before < HEAD_BYTES:
            self._pieces = [b"".join([*self._pieces, piece])[:HEAD_BYTES]]

    def take(self) -> bytes | Oversized:
        line = b"".join(self._pieces)
        taken = line if self._size <= self._limit else Oversized(head=line, size=self._size)
        self._pieces, self._size = [], 0
        return taken


def blocks(
    chunks: Iterable[bytes], *, limit: int = MAX_LINE_BYTES
) -> Iterator[list[bytes] | Oversized]:
    r"""Yield lists of lines without their `\n` (a `\r` stays), and each oversized line alone.

    The last line may lack its newline. At most `limit` bytes and one chunk are held at a time;
    no chunk may be longer than `limit`.
    """
    unfinished = _Unfinished(limit)
    last = b"\n"
    for chunk in chunks:
        lines = chunk.split(b"\n")
        tail = lines.pop()
        if lines:
            unfinished.add(lines[0])
            first = unfinished.take()
            if isinstance(first, Oversized):
                yield first
                del lines[0]
            else:
                lines[0] = first
            yield lines
        unfinished.add(tail)
        last = chunk[-1:] or last
    if last != b"\n":
        end = unfinished.take()
        yield end if isinstance(end, Oversized) else [end]


def without_bom(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the chunks, without the byte order mark they may begin with."""
    head = b""
    rest = iter(chunks)
    for chunk in rest:
        head += chunk
        if len(head) >= len(BOM):
            break
    yield head.removeprefix(BOM)
    yield from rest


def read_range(raw: BinaryIO, start: int, stop: int | None) -> Iterator[bytes]:
    """Yield the bytes from `start` up to `stop` (None: to the end) in chunks."""
    raw.seek(start)
    left = stop - start if stop is not None else None
    while left is None or left > 0:
        chunk = raw.read(CHUNK_BYTES if left is None else min(CHUNK_BYTES, left))
        if not chunk:
            return
        yield chunk
        if left is not None:
            left -= len(chunk)


def cut_at_lines(raw: BinaryIO, size: int, pieces: int) -> list[Segment]:
    """Cut a plain file of `size` bytes into at most `pieces` ranges of whole lines, in order.

    The last range is open, and the line numbers are those of the whole file: it is read once.
    """
    starts = [0]
    for piece in range(1, pieces):
        start = _next_line(raw, size * piece // pieces)
        if starts[-1] < start < size:
            starts.append(start)
    segments: list[Segment] = []
    line = 1
    for number, start in enumerate(starts):
        stop = starts[number + 1] if number + 1 < len(starts) else None
        segments.append(Segment(number=number, start=start, stop=stop, first_line=line))
        if stop is not None:
            line += sum(chunk.count(b"\n") for chunk in read_range(raw, start, stop))
    return segments


def _next_line(raw: BinaryIO, offset: int) -> int:
    """Return where the first line begins at or after `offset`, or the end of the file."""
    position = max(offset - 1, 0)
    for chunk in read_range(raw, position, None):
        found = chunk.find(b"\n")
        if found >= 0:
            return position + found + 1
        position += len(chunk)
    return position

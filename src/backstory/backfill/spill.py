"""Spill files: what was read, shared out by the hash of the lead, so that memory stays bounded.

A segment of the input is written into a directory of its reader's own and published by a rename
when it is whole, so that a reader who was thought dead spoils nothing. Three kinds of file, one per
partition:

    <p>.taken     records that may become messages, shared out by lead
    <p>.ids       audit id digest, position, content hash: to find ids that occur twice
    <p>.left      records that cannot become messages, shared out by content

Files are ours alone (mode 0700 above them) and never outlive the Python that wrote them, so
`marshal`, the quickest codec there is, serves.
"""

import heapq
import itertools
import marshal
import os
import shutil
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from backstory.errors import SourceError
from backstory.extract.judge import Left, Record

# What a writer buffers, shared by its partitions: memory must not grow with their number.
BUFFERED_BYTES = 1024 * 1024
BUFFERED_RECORDS = 1024
BLOCK_RECORDS = 32
READ_BYTES = 1024 * 1024
MAX_PARTITION_BYTES = 16 * 1024 * 1024
RUN_RECORDS = 20_000
_LENGTH = struct.Struct("<I")
_ID_ENTRY = struct.Struct(">16sQ16sH")


class IdEntry(NamedTuple):
    """Where an audit id occurs: digest of the id, position, content hash, partition."""

    record_id: bytes
    seq: int
    content_hash: bytes
    partition: int


class SpillWriter:
    """Writes the spill files of one segment; nobody sees them before `publish`."""

    def __init__(self, directory: Path, partitions: int) -> None:
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True, mode=0o700)
        self._directory = directory
        self._shift = 16 - (partitions.bit_length() - 1)
        self._buffers: dict[str, list[bytearray]] = {
            kind: [bytearray() for _ in range(partitions)] for kind in ("taken", "ids", "left")
        }
        self._block_records = max(2, min(BLOCK_RECORDS, BUFFERED_RECORDS // partitions))
        self._flush_bytes = BUFFERED_BYTES // partitions
        self._blocks: list[list[Record]] = [[] for _ in range(partitions)]
        self._ids = self._buffers["ids"]

    def take(self, record: Record) -> None:
        """Keep a record for the partition of its lead, and its id for the order pass."""
        key = record[0]
        partition = ((key[0] << 8) | key[1]) >> self._shift
        block = self._blocks[partition]
        block.append(record)
        if len(block) == self._block_records:
            self._pack("taken", partition, block)
        record_id = record[3]
        slot = ((record_id[0] << 8) | record_id[1]) >> self._shift
        ids = self._ids[slot]
        ids += _ID_ENTRY.pack(record_id, record[2], record[4], partition)
        if len(ids) > self._flush_bytes:
            self._flush("ids", slot)

    def leave(self, record: Left) -> None:
        """Keep a record that makes no message, for the partition of its content."""
        digest = record.digest
        partition = ((digest[0] << 8) | digest[1]) >> self._shift
        self._pack("left", partition, [tuple(record)])

    def publish(self, segment: Path) -> None:
        """Write what is buffered and put the whole directory in the place of `segment`."""
        for partition, block in enumerate(self._blocks):
            if block:
                self._pack("taken", partition, block)
        for kind, buffers in self._buffers.items():
            for partition, buffer in enumerate(buffers):
                if buffer:
                    self._flush(kind, partition)
        shutil.rmtree(segment, ignore_errors=True)
        self._directory.rename(segment)

    def _pack(self, kind: str, partition: int, block: list[tuple[Any, ...]]) -> None:
        buffer = self._buffers[kind][partition]
        buffer += _frame(block)
        block.clear()
        if len(buffer) > self._flush_bytes:
            self._flush(kind, partition)

    def _flush(self, kind: str, partition: int) -> None:
        buffer = self._buffers[kind][partition]
        file = self._directory / f"{partition}.{kind}"
        with written_to(file), file.open("ab") as handle:
            handle.write(buffer)
        buffer.clear()


@contextmanager
def written_to(file: Path) -> Iterator[None]:
    """Raise a SourceError that says what to do in place of the error of a full or broken disk."""
    try:
        yield
    except OSError as refused:
        raise SourceError(
            f"{file.parent} takes no more working files ({refused.strerror or refused}): they need "
            "about as much space as the log, unpacked. Free some there, then `backstory resume` "
            "goes on; or choose another --home and start anew."
        ) from refused


def _frame(block: list[tuple[Any, ...]]) -> bytes:
    """Return a block of records with its length before it."""
    packed = marshal.dumps(block)
    return _LENGTH.pack(len(packed)) + packed


class Spill:
    """A run's directory of spill files, read partition by partition."""

    def __init__(self, directory: Path, partitions: int) -> None:
        self.directory = directory
        self.partitions = partitions

    def segment(self, number: int) -> Path:
        """Return the directory of one segment of the input, once it is whole."""
        return self.directory / f"segment-{number}"

    def reading(self, number: int, fence: int) -> Path:
        """Return where the holder of a claim writes a segment until it is whole."""
        return self.directory / f"reading-{number}-{fence}"

    def taken(self, partition: int) -> Iterator[tuple[Any, ...]]:
        """Yield the records of a partition as `judge.Taken` tuples, sorted: lead by lead, in order.

        A partition that is too large to hold is sorted in runs on disk, then merged.
        """
        files = self._files("taken", partition)
        if sum(file.stat().st_size for file in files) <= MAX_PARTITION_BYTES:
            yield from sorted(record for file in files for record in _records(file))
            return
        runs = list(self._sorted_runs(files, partition))
        yield from heapq.merge(*map(_records, runs))
        for run in runs:
            run.unlink()

    def _sorted_runs(self, files: list[Path], partition: int) -> Iterator[Path]:
        records = (record for file in files for record in _records(file))
        for number in itertools.count():
            block = sorted(itertools.islice(records, RUN_RECORDS))
            if not block:
                return
            run = self.directory / f"{partition}.run-{number}-{os.getpid()}"
            with written_to(run), run.open("wb") as file:
                for start in range(0, len(block), BLOCK_RECORDS):
                    file.write(_frame(block[start : start + BLOCK_RECORDS]))
            yield run

    def left(self, partition: int) -> list[Left]:
        """Return the records of a partition that make no message, in order of content."""
        rows = [Left(*row) for file in self._files("left", partition) for row in _records(file)]
        return sorted(rows, key=lambda row: (row.digest, row.seq))

    def ids(self, slot: int) -> bytes:
        """Return the id entries of a slot, packed one after another."""
        return b"".join(file.read_bytes() for file in self._files("ids", slot))

    def remove(self) -> None:
        """Delete the directory with all its files."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def _files(self, kind: str, partition: int) -> list[Path]:
        return sorted(self.directory.glob(f"segment-*/{partition}.{kind}"))


def _records(file: Path) -> Iterator[tuple[Any, ...]]:
    rest = b""
    with file.open("rb") as handle:
        while chunk := handle.read(READ_BYTES):
            data = rest + chunk
            start, end = 0, len(data)
            while start + _LENGTH.size <= end:
                (length,) = _LENGTH.unpack_from(data, start)
                stop = start + _LENGTH.size + length
                if stop > end:
                    break
                yield from marshal.loads(data[start + _LENGTH.size : stop])  # noqa: S302 - our own files, mode 0700
                start = stop
            rest = data[start:]


def id_entries(packed: bytes) -> Iterator[IdEntry]:
    """Unpack what `Spill.ids` returned."""
    return map(IdEntry._make, _ID_ENTRY.iter_unpack(packed))


ID_ENTRY_BYTES = _ID_ENTRY.size

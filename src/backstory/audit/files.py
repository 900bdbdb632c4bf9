"""The bytes of one input file, unpacked: plain, gzip or zstd, told apart by their first bytes."""

import os
import stat
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, Protocol

import zstandard

from backstory.audit.lines import CHUNK_BYTES, read_range
from backstory.audit.rows import HEAD_BYTES
from backstory.errors import SourceError

# What a damaged archive or a failing disk raises while it is read.
DAMAGE = (OSError, EOFError, zlib.error, zstandard.ZstdError)
_SAMPLE_BYTES = 4 * 1024 * 1024
_GZIP_WINDOW = 31  # zlib's way to say: expect a gzip header and check its sum
_FOREIGN = (
    (b"BZh", "a bzip2 archive: unpack it first (bunzip2)"),
    (b"\xfd7zXZ", "an xz archive: unpack it first (unxz)"),
    (b"PK\x03\x04", "a zip archive or an Excel sheet: unpack it, or save it as CSV, first"),
    (b"\xff\xfe\0\0", "UTF-32 text: convert it first (iconv -f UTF-32 -t UTF-8)"),
    (b"\0\0\xfe\xff", "UTF-32 text: convert it first (iconv -f UTF-32 -t UTF-8)"),
    (b"\xff\xfe", "UTF-16 text: convert it first (iconv -f UTF-16 -t UTF-8)"),
    (b"\xfe\xff", "UTF-16 text: convert it first (iconv -f UTF-16 -t UTF-8)"),
    (b"SQLite format 3", "an SQLite database: export its tables as CSV first"),
    (b"PGDMP", "a pg_dump archive: restore it and name the database as postgresql://…"),
)


class Packing(StrEnum):
    """How the bytes of a file are compressed."""

    PLAIN = "plain"
    GZIP = "gzip"
    ZSTD = "zstd"


class _Unpacker(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


def _begin_gzip() -> _Unpacker:
    return zlib.decompressobj(_GZIP_WINDOW)


def _begin_zstd() -> _Unpacker:
    return zstandard.ZstdDecompressor().decompressobj()


# One feed is small because a few bytes can unpack to much: at most 32,000 times their size.
_UNPACK: dict[Packing, tuple[Callable[[], _Unpacker], int]] = {
    Packing.GZIP: (_begin_gzip, 16 * 1024),
    Packing.ZSTD: (_begin_zstd, 512),
}


@dataclass(frozen=True, slots=True)
class InputFile:
    """A regular file that exists; `label` is how messages and findings name it."""

    path: Path
    label: str
    packing: Packing = Packing.PLAIN

    @classmethod
    def found(cls, path: Path, label: str, magic: bytes) -> "InputFile":
        """Judge a file by its `first_bytes`; raise SourceError when it cannot be an input."""
        packing = _packing(magic)
        if packing is Packing.PLAIN:
            _refuse_foreign(path, label, magic)
        return cls(path, label, packing)

    def chunks(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yield the unpacked bytes; `start` and `stop` hold for plain files only.

        Raises one of DAMAGE in the middle: `damaged` turns it into words.
        """
        with self.path.open("rb", buffering=0) as raw:
            if self.packing is Packing.PLAIN:
                yield from read_range(raw, start, stop)
            else:
                yield from _unpack(raw, self.packing)

    def head(self) -> bytes:
        """Return the first HEAD_BYTES of the unpacked file, or all of a shorter one."""
        head = b""
        try:
            for chunk in self.chunks(stop=HEAD_BYTES):
                head += chunk
                if len(head) >= HEAD_BYTES:
                    break
        except DAMAGE as cause:
            if not head:
                raise self.damaged(1, cause) from cause
        return head[:HEAD_BYTES]

    def unpacked_bytes(self) -> int:
        """Return the size of the unpacked file: estimated from its beginning if it is packed."""
        size = self._stat().st_size
        if self.packing is Packing.PLAIN:
            return size
        unpacked = 0
        try:
            with self.path.open("rb", buffering=0) as raw:
                for chunk in _unpack(raw, self.packing):
                    unpacked += len(chunk)
                    if unpacked >= _SAMPLE_BYTES:
                        break
                packed = raw.tell()
        except DAMAGE as cause:
            raise self.damaged(1, cause) from cause
        return unpacked * size // max(packed, 1)

    def fingerprint(self) -> str:
        """Return size and modification time: another value means another content."""
        found = self._stat()
        return f"{found.st_size}:{found.st_mtime_ns}"

    def where(self, position: int) -> str:
        """Name a line of this file."""
        return f"{self.label}:{position}"

    def damaged(self, line: int, cause: Exception) -> SourceError:
        """Return the error for `cause`, met while the 1-based `line` was read."""
        place = self.where(line)
        if isinstance(cause, OSError):
            return SourceError(f"{place}: the file cannot be read further ({_reason(cause)}).")
        return SourceError(
            f"{place}: the {self.packing} archive is damaged or cut short ({cause}). Fetch it "
            f"again, or keep what is whole: {self.packing} -dc {self.path.name} > whole.jsonl"
        )

    def _stat(self) -> os.stat_result:
        try:
            return self.path.stat()
        except OSError as cause:
            raise unreadable(self.label, cause) from cause


def first_bytes(path: Path) -> bytes:
    """Return the bytes that tell what a file is; raise SourceError when it cannot be read."""
    try:
        if stat.S_ISDIR(path.stat().st_mode):
            raise SourceError(f"{path} is a directory: name the files in it ({path}/*.jsonl).")
        with path.open("rb") as raw:
            return raw.read(64)
    except OSError as cause:
        raise unreadable(str(path), cause) from cause


def unreadable(label: str, cause: OSError) -> SourceError:
    """Return the error for a file that cannot even be opened."""
    if isinstance(cause, FileNotFoundError):
        return SourceError(f"{label} does not exist: check the name and the directory.")
    if isinstance(cause, PermissionError):
        return SourceError(f"{label} may not be read by this user: change its permissions.")
    return SourceError(f"{label} cannot be read: {_reason(cause)}.")


def _reason(cause: OSError) -> str:
    return cause.strerror or str(cause)


def _packing(magic: bytes) -> Packing:
    if magic.startswith(b"\x1f\x8b"):
        return Packing.GZIP
    skippable = magic[1:4] == b"\x2a\x4d\x18" and 0x50 <= magic[0] <= 0x5F  # noqa: PLR2004 - RFC 8878
    if magic.startswith(b"\x28\xb5\x2f\xfd") or skippable:
        return Packing.ZSTD
    return Packing.PLAIN


def _refuse_foreign(path: Path, label: str, magic: bytes) -> None:
    for beginning, remedy in _FOREIGN:
        if magic.startswith(beginning):
            raise SourceError(f"{label} is {remedy}.")
    if path.suffix == ".parquet" and not magic.startswith(b"PAR1"):
        raise SourceError(f"{label} is named .parquet but is no such file: fetch it again.")
    if path.suffix in {".gz", ".zst"} and not magic.lstrip().startswith(b"{"):
        raise SourceError(
            f"{label} is named {path.suffix} but is no such archive: fetch it again, or rename it "
            "if it was never packed."
        )


def _unpack(raw: BinaryIO, packing: Packing) -> Iterator[bytes]:
    """Yield what the members or frames of an archive hold; EOFError when the last one is cut.

    zstandard's own stream reader ends a cut archive without a word, therefore this loop.
    """
    begin, feed = _UNPACK[packing]
    unpacker, fresh = begin(), True
    while data := raw.read(feed):
        if fresh:
            data = data.lstrip(b"\0")  # gzip members may be padded with zeros
        while data:
            chunk, fresh = unpacker.decompress(data), False
            for start in range(0, len(chunk), CHUNK_BYTES):
                yield chunk[start : start + CHUNK_BYTES]
            data = b""
            if unpacker.eof:
                data, unpacker, fresh = unpacker.unused_data.lstrip(b"\0"), begin(), True
    if not fresh:
        raise EOFError("it ends in the middle")

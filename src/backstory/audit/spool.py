"""Keeps what can be read only once, standard input or a pipe, so that a crash does not lose it."""

import os
import shutil
import sys
from itertools import count
from pathlib import Path
from tempfile import mkstemp
from typing import IO
from weakref import WeakSet

from backstory.audit.lines import CHUNK_BYTES
from backstory.audit.rows import Kind
from backstory.errors import SourceError, UsageError

# A process has one standard input, and it can be read once: this remembers that it was.
_spent: "WeakSet[IO[bytes]]" = WeakSet()


def spool_standard_input(kind: Kind, spool: Path) -> Path:
    """Copy standard input to `stdin-KIND` in `spool` and return that file.

    Raises UsageError when it is a terminal or was read before, SourceError when it cannot be kept.
    """
    stream = sys.stdin.buffer if sys.stdin is not None else None
    if stream is None or stream.closed or stream.isatty():
        raise UsageError("`-` means standard input: pipe a file into it, or name the file.")
    if stream in _spent:
        raise UsageError("`-` can be given once, for the log or for the leads: name a file too.")
    _spent.add(stream)
    return _keep(stream, f"stdin-{kind}", spool)


def spool_pipe(path: Path, kind: Kind, spool: Path) -> Path:
    """Copy a named pipe or a process substitution to `pipe-KIND` in `spool`; return that file."""
    try:
        with path.open("rb") as stream:
            return _keep(stream, f"pipe-{kind}", spool)
    except OSError as cause:
        raise SourceError(f"{path} cannot be read: {cause.strerror or cause}.") from cause


def _keep(stream: IO[bytes], name: str, spool: Path) -> Path:
    """Write the stream beside its final name, flush it to the disk, then rename it."""
    try:
        spool.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, partial = mkstemp(prefix=f"{name}.", suffix=".partial", dir=spool)  # mode 0600
        try:
            with os.fdopen(handle, "wb") as kept:
                shutil.copyfileobj(stream, kept, CHUNK_BYTES)
                kept.flush()
                os.fsync(kept.fileno())
            return _publish(Path(partial), spool / name)
        finally:
            Path(partial).unlink(missing_ok=True)
    except OSError as cause:
        raise SourceError(
            f"The input cannot be kept in {spool}: {cause.strerror or cause}. Free space there or "
            "choose another directory with BACKSTORY_HOME, then pipe the input in again."
        ) from cause


def _publish(partial: Path, name: Path) -> Path:
    """Give the file the first free name, never another run's, and make that name durable."""
    for attempt in count(1):
        final = name if attempt == 1 else name.with_name(f"{name.name}-{attempt}")
        try:
            final.touch(mode=0o600, exist_ok=False)
        except FileExistsError:
            continue
        break
    partial.replace(final)
    directory = os.open(name.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return final

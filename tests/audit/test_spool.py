"""Standard input and pipes are kept in a file first, then read like any other."""

import gzip
import io
import os
import stat
import sys
import threading

import pytest

from backstory.audit.source import Kind, open_sources
from backstory.errors import SourceError, UsageError

LINES = b'{"id": 1}\n\n{"id": 3}\n'
ROWS = [(1, b'{"id": 1}'), (3, b'{"id": 3}')]


@pytest.fixture
def piped(monkeypatch):
    def pipe(data):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    return pipe


def opened(spool, *arguments, kind=Kind.AUDIT):
    return open_sources(arguments, kind, table=None, columns={}, spool=spool)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_standard_input_is_kept_privately_and_read_from_there(tmp_path, piped, pack):
    piped(pack(LINES))
    spool = tmp_path / "home" / "spool"
    [source] = opened(spool, "-")
    assert list(source.read()) == ROWS
    [kept] = spool.iterdir()
    assert kept.name == "stdin-audit"
    assert kept.read_bytes() == pack(LINES)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert source.where(3) == "stdin:3"


def test_a_resumed_run_reads_what_was_kept_under_the_same_name(tmp_path, piped):
    piped(LINES)
    [source] = opened(tmp_path, "-")
    [again] = opened(tmp_path, str(source.file.path))
    assert list(again.read()) == ROWS
    assert again.label == source.label
    assert again.fingerprint() == source.fingerprint()


def test_what_an_earlier_run_kept_is_never_overwritten(tmp_path, piped):
    for number in range(3):
        piped(b'{"id": %d}' % number)
        opened(tmp_path, "-")
    names = ["stdin-audit", "stdin-audit-2", "stdin-audit-3"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert (tmp_path / "stdin-audit").read_bytes() == b'{"id": 0}'


def test_standard_input_serves_the_log_or_the_leads_not_both(tmp_path, piped):
    piped(LINES)
    with pytest.raises(UsageError, match="once"):
        opened(tmp_path, "-", "-")
    opened(tmp_path, "-")
    with pytest.raises(UsageError, match="once, for the log or for the leads"):
        opened(tmp_path, "-", kind=Kind.LEAD)


def test_a_terminal_is_not_waited_for(tmp_path, monkeypatch):
    _, terminal = os.openpty()
    with os.fdopen(terminal) as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        with pytest.raises(UsageError, match="pipe a file into it"):
            opened(tmp_path, "-")


def test_no_standard_input_at_all_is_said_in_words(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UsageError, match="pipe a file into it"):
        opened(tmp_path, "-")


def test_a_spool_that_cannot_be_written_is_said_in_words(tmp_path, piped):
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    piped(LINES)
    with pytest.raises(SourceError, match=r"cannot be kept in .*BACKSTORY_HOME"):
        opened(blocked / "spool", "-")


def test_a_copy_that_breaks_off_leaves_nothing_behind(tmp_path, monkeypatch):
    class Broken(io.RawIOBase):
        def readable(self):
            return True

        def readinto(self, _buffer):
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(Broken())))
    with pytest.raises(SourceError, match="Input/output error"):
        opened(tmp_path, "-")
    assert list(tmp_path.iterdir()) == []


def test_a_named_pipe_is_kept_like_standard_input(tmp_path):
    pipe = tmp_path / "fifo"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(LINES,))
    writer.start()
    [source] = opened(tmp_path / "spool", str(pipe))
    writer.join()
    assert list(source.read()) == ROWS
    assert list(source.read()) == ROWS
    assert source.where(1) == "pipe:1"

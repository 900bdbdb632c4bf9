"""JSON lines from plain and packed files, and what a user is told when they cannot be read."""

import gzip
import pickle
import re
import tracemalloc

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backstory.audit.source import (
    HEAD_BYTES,
    MAX_LINE_BYTES,
    Kind,
    Oversized,
    open_sources,
    segment_sources,
)
from backstory.errors import SourceError, UsageError

LINES = b'{"id": 1}\n{"id": 2}\r\n\n   \n{"id": 5}'
ROWS = [(1, b'{"id": 1}'), (2, b'{"id": 2}'), (5, b'{"id": 5}')]
PACKED = {
    "plain": lambda data: data,
    "gzip": gzip.compress,
    "gzip members": lambda data: gzip.compress(data[:7]) + gzip.compress(data[7:]) + b"\0" * 9,
    "zstd": zstandard.compress,
    "zstd frames": lambda data: zstandard.compress(data[:7]) + zstandard.compress(data[7:]),
    "zstd, skippable frame": lambda data: b"\x5a\x2a\x4d\x18\1\0\0\0x" + zstandard.compress(data),
}


def opened(*paths, kind=Kind.AUDIT, columns=None):
    return open_sources(
        [str(path) for path in paths],
        kind,
        table=None,
        columns=columns or {},
        spool=paths[0].parent / "spool",
    )


def rows(*paths):
    return [
        row
        for source in opened(*paths)
        for segment in source.segments(4)
        for row in source.read(segment)
    ]


@pytest.fixture
def log(tmp_path):
    def write(data, name="audit.jsonl"):
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write


@pytest.mark.parametrize("packing", PACKED)
def test_blank_lines_count_but_are_no_records(log, packing):
    assert rows(log(PACKED[packing](LINES))) == ROWS


@pytest.mark.parametrize("packing", PACKED)
def test_a_byte_order_mark_is_no_part_of_the_first_record(log, packing):
    assert rows(log(PACKED[packing](b"\xef\xbb\xbf" + LINES))) == ROWS


def test_packing_is_told_by_the_bytes_not_by_the_name(log):
    assert rows(log(gzip.compress(LINES), "audit.jsonl.zst")) == ROWS
    assert rows(log(LINES, "audit.jsonl.gz")) == ROWS


def test_bytes_that_are_no_text_are_passed_on(log):
    assert rows(log(b'{"a": "\0\xff"}\n')) == [(1, b'{"a": "\0\xff"}')]


def test_an_empty_file_has_no_rows(log):
    assert rows(log(b"")) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(lines=st.lists(st.sampled_from([b"", b" \t", b"{}", b'{"id": "x"}\r']), max_size=30))
def test_segments_together_yield_what_the_whole_file_does(log, lines):
    path = log(b"\n".join(lines))
    [source] = opened(path)
    expected = [(n, line.rstrip(b"\r")) for n, line in enumerate(lines, 1) if line.strip()]
    assert list(source.read()) == expected
    for pieces in (1, 2, 5):
        assert [row for each in source.segments(pieces) for row in source.read(each)] == expected


def test_several_files_are_segments_numbered_in_order(log):
    sources = opened(log(b"{}\n" * 300, "a.jsonl"), log(gzip.compress(b"{}\n" * 100), "b.jsonl.gz"))
    segments = segment_sources(sources, 4)
    assert [segment.number for segment in segments] == [0, 1, 2, 3]
    assert [segment.source for segment in segments] == [0, 0, 0, 1]
    total = sum(len(list(sources[each.source].read(each))) for each in segments)
    assert total == 400


@pytest.mark.parametrize("packing", ["plain", "gzip", "zstd"])
def test_a_line_of_a_hundred_megabytes_is_never_held(log, packing):
    whole = b'{"x": "' + b"x" * 100_000_000 + b'"}'
    path = log(PACKED[packing](b"{}\n" + whole + b"\n{}\n"))
    size, head = len(whole), whole[:HEAD_BYTES]
    del whole
    tracemalloc.start()
    try:
        found = rows(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found == [(1, b"{}"), (2, Oversized(head, size)), (3, b"{}")]
    assert peak < 4 * MAX_LINE_BYTES


def test_a_line_of_just_the_allowed_size_is_a_row(log):
    line = b"x" * MAX_LINE_BYTES
    assert rows(log(line + b"\n" + line + b"y\n")) == [
        (1, line),
        (2, Oversized(line[:HEAD_BYTES], MAX_LINE_BYTES + 1)),
    ]


def test_sizes_are_those_of_the_unpacked_lines(log):
    data = b"".join(b'{"id": "%032d", "n": %d}\n' % (n * 7919, n) for n in range(200_000))
    for packing in ("plain", "gzip", "gzip members", "zstd", "zstd frames"):
        [source] = opened(log(PACKED[packing](data)))
        assert 0.8 < source.estimated_bytes() / len(data) < 1.25


@pytest.mark.parametrize("packing", ["gzip", "gzip members", "zstd", "zstd frames"])
@pytest.mark.parametrize("keep", [0.5, 0.999])
def test_a_cut_archive_names_the_line_and_what_to_do(log, packing, keep):
    lines = [b'{"id": "%032d"}' % (n * 7919 % 100_003) for n in range(50_000)]
    whole = PACKED[packing](b"\n".join(lines)).rstrip(b"\0")
    [source] = opened(log(whole[: int(len(whole) * keep)]))
    reached = []
    with pytest.raises(SourceError, match=r"damaged or cut short .* -dc audit.jsonl") as told:
        reached.extend(source.read())
    assert reached == list(enumerate(lines, 1))[: len(reached)]
    assert str(told.value).startswith(f"audit.jsonl:{len(reached) + 1}: ")


@pytest.mark.parametrize("packing", ["gzip", "zstd"])
def test_an_archive_with_a_wrong_byte_is_damaged(log, packing):
    data = b"".join(b'{"id": "%032d"}\n' % (n * 7919 % 100_003) for n in range(50_000))
    whole = bytearray(
        gzip.compress(data)
        if packing == "gzip"
        else zstandard.ZstdCompressor(write_checksum=True).compress(data)
    )
    whole[len(whole) // 2] ^= 0x55
    with pytest.raises(SourceError, match=r"audit.jsonl:\d+: the (gzip|zstd) archive is damaged"):
        rows(log(bytes(whole)))


@pytest.mark.parametrize(
    ("data", "name", "sentence"),
    [
        (b'\n [{"id": 1},\n', "audit.jsonl", r"audit.jsonl is a JSON array.*jq -c '\.\[\]'"),
        (gzip.compress(b"[1]", mtime=0), "audit.jsonl", r"is a JSON array"),
        (b'{\n  "id": 1\n}\n', "audit.jsonl", r"over several lines.*jq -c \."),
        (b"\xff\xfe{\0}\0", "audit.jsonl", r"UTF-16.*iconv"),
        ("\ufeff{}".encode("utf-32-le"), "audit.jsonl", r"UTF-32.*iconv"),
        ("\ufeff{}".encode("utf-32-be"), "audit.jsonl", r"UTF-32.*iconv"),
        (b"PK\x03\x04...", "audit.zip", r"zip archive.*unpack"),
        (b"BZh91AY", "audit.jsonl.bz2", r"bzip2 archive"),
        (b"", "audit.jsonl.gz", r"named .gz but is no such archive"),
        (b"garbage", "audit.jsonl.zst", r"named .zst but is no such archive"),
    ],
)
def test_another_format_is_named_with_the_way_to_convert_it(log, data, name, sentence):
    with pytest.raises(SourceError, match=sentence):
        opened(log(data, name))[0].check()


def test_a_missing_file_and_a_directory_are_said_in_words(tmp_path):
    with pytest.raises(SourceError, match=r"gone\.jsonl does not exist"):
        opened(tmp_path / "gone.jsonl")
    with pytest.raises(SourceError, match=r"is a directory: name the files"):
        opened(tmp_path)


def test_a_file_that_vanishes_after_it_was_opened_is_said_in_words(log):
    path = log(LINES)
    [source] = opened(path)
    path.unlink()
    with pytest.raises(SourceError, match=r"audit\.jsonl"):
        list(source.read())
    for call in (source.fingerprint, source.estimated_bytes, lambda: source.segments(2)):
        with pytest.raises(SourceError, match=r"audit\.jsonl does not exist"):
            call()


def test_files_of_one_name_are_told_apart_by_their_directories(tmp_path):
    paths = [tmp_path / each / "audit.jsonl" for each in "ab"]
    for path in paths:
        path.parent.mkdir()
        path.write_bytes(LINES)
    assert [source.where(5) for source in opened(*paths)] == [f"{path}:5" for path in paths]
    assert opened(paths[0])[0].where(5) == "audit.jsonl:5"


def test_a_changed_file_has_another_fingerprint(log):
    [source] = opened(log(LINES))
    before = source.fingerprint()
    assert opened(log(LINES + b"\n{}"))[0].fingerprint() != before


def test_sources_and_segments_travel_to_other_processes(log):
    [source] = opened(log(LINES))
    again, segment = pickle.loads(pickle.dumps((source, source.segments(1)[0])))  # noqa: S301 - bytes we have just made
    assert list(again.read(segment)) == ROWS


def test_an_unknown_field_in_the_mapping_is_a_usage_error(log):
    with pytest.raises(UsageError, match=re.escape("--map lead=… names no field of ours")):
        opened(log(LINES), columns={"lead": "thread"})
    assert opened(log(LINES), columns={"lead.phone": "tel", "id": "key"})

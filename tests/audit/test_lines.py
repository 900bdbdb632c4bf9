"""Splitting bytes into lines: the same lines whatever the chunks, the ranges and the limit."""

import io

from hypothesis import given
from hypothesis import strategies as st

from backstory.audit.lines import blocks, cut_at_lines, read_range, without_bom
from backstory.audit.rows import HEAD_BYTES, Oversized

TEXT = st.lists(
    st.sampled_from([b"\n", b"\r", b"a", b"bc", b"\0", b"\xff", b" "]), max_size=60
).map(b"".join)


def chunked(data, sizes):
    chunks = []
    for size in sizes:
        chunks.append(data[:size])
        data = data[size:]
    return [*chunks, data]


def truth(data):
    lines = data.split(b"\n")
    return lines[:-1] if lines[-1] == b"" else lines


def flat(found):
    return [line for block in found for line in (block if isinstance(block, list) else [block])]


@given(data=TEXT, sizes=st.lists(st.integers(0, 5), max_size=30))
def test_lines_do_not_depend_on_how_the_bytes_arrive(data, sizes):
    assert flat(blocks(chunked(data, sizes))) == truth(data)


@given(data=TEXT, sizes=st.lists(st.integers(0, 5), max_size=30), limit=st.integers(1, 6))
def test_a_line_beyond_the_limit_is_its_head_and_its_size(data, sizes, limit):
    expected = [
        line if len(line) <= limit else Oversized(line[:HEAD_BYTES], len(line))
        for line in truth(data)
    ]
    chunks = [
        chunk[start : start + limit]
        for chunk in chunked(data, sizes)
        for start in range(0, len(chunk), limit)
    ]
    assert flat(blocks(chunks, limit=limit)) == expected


def test_the_head_of_an_oversized_line_is_bounded():
    chunks = [b"x" * 1000] * 200
    [line] = blocks(chunks, limit=100_000)
    assert line == Oversized(b"x" * HEAD_BYTES, 200_000)


@given(data=TEXT, sizes=st.lists(st.integers(0, 2), max_size=6))
def test_only_the_mark_at_the_very_start_is_dropped(data, sizes):
    mark = b"\xef\xbb\xbf"
    assert b"".join(without_bom(chunked(mark + mark + data, sizes))) == mark + data
    assert b"".join(without_bom(chunked(data, sizes))) == data


@given(data=TEXT, pieces=st.integers(1, 8))
def test_ranges_cover_the_file_once_with_the_right_line_numbers(data, pieces):
    raw = io.BytesIO(data)
    segments = cut_at_lines(raw, len(data), pieces)
    assert len(segments) <= pieces
    numbered = []
    for segment in segments:
        lines = flat(blocks(read_range(raw, segment.start, segment.stop)))
        numbered += enumerate(lines, segment.first_line)
    assert numbered == list(enumerate(truth(data), 1))
    assert len({segment.start for segment in segments}) == len(segments)
    assert [segment.number for segment in segments] == list(range(len(segments)))

"""The first pass: each record of a segment is judged once and is spilled, or nothing counts."""

import json
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from loaded_world import record, talk, written

from backstory.audit.source import Kind, Source, open_sources, segment_sources
from backstory.backfill import read
from backstory.backfill.read import KnownLeads, ReadTask, place_of, read_segment, source_of
from backstory.backfill.spill import Spill
from backstory.errors import SourceError
from backstory.extract.identity import lead_id, message_id

keys = st.binary(min_size=16, max_size=16)


def opened(directory: Path, *files: str) -> list[Source]:
    return open_sources(files, Kind.AUDIT, table=None, columns={}, spool=directory)


def task(directory: Path, sources: list[Source], **more: Any) -> ReadTask:
    return ReadTask(
        **{
            "log": "audit",
            "sources": sources,
            "spill": directory / "spill",
            "partitions": 4,
            "assume_tz": "UTC",
            "unknown_actor": None,
            "known": None,
        }
        | more
    )


def ignore(_: int) -> None:
    """Do nothing with a number of records."""


# --- which leads there are ---------------------------------------------------------------------


@given(st.lists(keys), st.lists(keys))
def test_known_leads_are_known_and_others_are_not(known: list[bytes], others: list[bytes]) -> None:
    leads = KnownLeads(known)
    assert all(key in leads for key in known)
    beginnings = {key[:8] for key in known}
    assert not any(key in leads for key in others if key[:8] not in beginnings)


@given(st.lists(keys))
def test_known_leads_come_back_from_their_file(
    tmp_path_factory: pytest.TempPathFactory, known: list[bytes]
) -> None:
    file = tmp_path_factory.mktemp("leads") / "known"
    KnownLeads(known).save(file)
    assert file.stat().st_size == 8 * len({key[:8] for key in known})
    loaded = KnownLeads.load(file)
    assert all(key in loaded for key in known)
    assert bytes(16) in loaded or bytes(8) not in {key[:8] for key in known}


# --- where a record stands -----------------------------------------------------------------------


def test_a_position_names_source_and_line_and_orders_records_across_sources(tmp_path: Path) -> None:
    files = [
        written(talk(f"lead-{n}", range(10 * n, 10 * n + 3)), tmp_path / f"{n}.jsonl")
        for n in range(3)
    ]
    sources = opened(tmp_path, *files)
    reading = task(tmp_path, sources)
    for segment in reversed(segment_sources(sources, 3)):
        read_segment(reading, segment, tick=ignore)
    spill = Spill(reading.spill, reading.partitions)
    records = sorted((r for p in range(4) for r in spill.taken(p)), key=lambda each: each[2])
    assert [each[3] for each in records] == [
        message_id("audit", f"a-{n}") for n in (0, 1, 2, 10, 11, 12, 20, 21, 22)
    ]
    assert [place_of(sources, each[2]) for each in records] == [
        f"{name}.jsonl:{line}" for name in range(3) for line in (1, 2, 3)
    ]
    assert source_of(sources, records[4][2]) is sources[1]


# --- a segment -----------------------------------------------------------------------------------


def test_every_record_is_taken_or_left_and_counted(tmp_path: Path) -> None:
    lines = [
        *talk("lead-1", range(3)),
        record(4, "stranger"),
        record(5, "gone"),
        record(6, None),
        record(7, "lead-1", payload={"text": "a\0b\0"}),
        b'{"id": 1, "id": 2, "lead_id": "lead-1", "actor": "agent", "payload": 1, "created_at": 0}',
        b"{",
        b"",
    ]
    known = tmp_path / "known"
    KnownLeads(map(lead_id, ("lead-1", "gone"))).save(known)
    sources = opened(tmp_path, written(lines, tmp_path / "log.jsonl"))
    reading = task(tmp_path, sources, known=known, erased=frozenset({lead_id("gone")}))
    (segment,) = segment_sources(sources, 1)
    found = read_segment(reading, segment, tick=ignore)
    assert (found.records_read, found.replaced, found.repeated_keys) == (9, 2, 1)
    spill = Spill(reading.spill, reading.partitions)
    left = {row.seq: row for p in range(4) for row in spill.left(p)}
    assert [left[line].reason for line in sorted(left)] == [
        "lead_not_found", "erased", "no_lead", "bad_json",
    ]  # fmt: skip
    assert [left[line].raw for line in sorted(left)] == [None, None, None, b"{"]
    taken = [each for p in range(4) for each in spill.taken(p)]
    assert len(taken) == 5
    assert {each[0] for each in taken} == {lead_id("lead-1")}


def test_the_records_of_a_partition_are_those_of_its_leads_in_order(tmp_path: Path) -> None:
    lines = [record(n, f"lead-{n % 7}", created_at=1e9 - n) for n in range(70)]
    sources = opened(tmp_path, written(lines, tmp_path / "log.jsonl"))
    reading = task(tmp_path, sources)
    (segment,) = segment_sources(sources, 1)
    read_segment(reading, segment, tick=ignore)
    spill = Spill(reading.spill, reading.partitions)
    seen: list[bytes] = []
    for partition in range(4):
        records = list(spill.taken(partition))
        assert records == sorted(records)
        seen += {each[0] for each in records}
    assert sorted(seen) == sorted(lead_id(f"lead-{n}") for n in range(7))


def test_a_long_segment_tells_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read, "_TICK_RECORDS", 4)
    sources = opened(tmp_path, written(talk("lead-1", range(10)), tmp_path / "log.jsonl"))
    (segment,) = segment_sources(sources, 1)
    told: list[int] = []
    read_segment(task(tmp_path, sources), segment, tick=told.append)
    assert told == [4, 8]


def test_a_segment_that_is_not_read_to_its_end_is_not_there(tmp_path: Path) -> None:
    whole = b"".join(json.dumps(record(n)).encode() + b"\n" for n in range(2000))
    packed = zstandard.ZstdCompressor(write_checksum=True).compress(whole)
    file = tmp_path / "log.jsonl.zst"
    file.write_bytes(packed)
    sources = opened(tmp_path, str(file))
    reading = task(tmp_path, sources)
    (segment,) = segment_sources(sources, 1)
    file.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(SourceError, match="cut short"):
        read_segment(reading, segment, tick=ignore)
    spill = Spill(reading.spill, reading.partitions)
    assert [each for p in range(4) for each in spill.taken(p)] == []
    file.write_bytes(packed)
    assert read_segment(reading, segment, fence=2, tick=ignore).records_read == 2000
    assert sum(1 for p in range(4) for _ in spill.taken(p)) == 2000


def test_a_segment_that_is_read_again_replaces_what_was_read_before(tmp_path: Path) -> None:
    sources = opened(tmp_path, written(talk("lead-1", range(10)), tmp_path / "log.jsonl"))
    reading = task(tmp_path, sources)
    (segment,) = segment_sources(sources, 1)
    for fence in (1, 2):
        read_segment(reading, segment, fence=fence, tick=ignore)
    spill = Spill(reading.spill, reading.partitions)
    assert sum(1 for p in range(4) for _ in spill.taken(p)) == 10

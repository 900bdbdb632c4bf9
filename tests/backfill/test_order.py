"""Which of several records under one audit id is the first is decided over the whole input."""

from itertools import combinations, pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backstory.backfill.order import Later, find_later_records, later_records
from backstory.backfill.spill import Spill, SpillWriter
from backstory.extract.identity import lead_id, message_id
from backstory.store.backfill import lock_slots

# An audit id, what is said under it, and the lead that says it.
Said = tuple[int, int, int]
said = st.tuples(st.integers(0, 4), st.integers(0, 2), st.integers(0, 6))


def spilled(directory: Path, records: list[Said], *, partitions: int, cuts: list[int]) -> Spill:
    """Spill records, their places in the input as positions, in segments that begin at the cuts."""
    spill = Spill(directory, partitions)
    bounds = sorted({0, len(records), *(cut for cut in cuts if cut < len(records))})
    for number, (start, stop) in enumerate(pairwise(bounds)):
        writer = SpillWriter(spill.reading(number, 1), partitions)
        for place in range(start, stop):
            audit_id, content, lead = records[place]
            key, record_id = lead_id(f"lead-{lead}"), message_id("audit", str(audit_id))
            rest = (b"",) * 5 + (b"user", b"text", None, b"", None, 0)
            writer.take((key, 0, place, record_id, content.to_bytes(16), *rest))
        writer.publish(spill.segment(number))
    return spill


def found(spill: Spill) -> dict[int, Later]:
    """Return every record that is not the first under its id, by its position."""
    every: dict[int, Later] = {}
    for partition in range(spill.partitions):
        places = {record[2] for record in spill.taken(partition)}
        later = later_records(spill, partition)
        assert later.keys() <= places
        every |= later
    return every


def expected(records: list[Said]) -> dict[int, Later]:
    first: dict[int, int] = {}
    twins: dict[tuple[int, int], int] = {}
    later = {}
    for place, (audit_id, content, _) in enumerate(records):
        twin = twins.get((audit_id, content), 0)
        twins[audit_id, content] = twin + 1
        if audit_id in first:
            later[place] = Later(first[audit_id] == content, twin)
        first.setdefault(audit_id, content)
    return later


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(said, max_size=30),
    st.sampled_from([1, 2, 16, 1024]),
    st.lists(st.integers(1, 29), max_size=3),
)
def test_the_first_in_source_order_wins_however_the_input_is_cut_and_shared_out(
    tmp_path_factory: pytest.TempPathFactory, records: list[Said], partitions: int, cuts: list[int]
) -> None:
    spill = spilled(tmp_path_factory.mktemp("spill"), records, partitions=partitions, cuts=cuts)
    find_later_records(spill)
    assert found(spill) == expected(records)


def test_the_same_id_of_two_leads_is_one_id(tmp_path: Path) -> None:
    spill = spilled(tmp_path, [(1, 0, 5), (1, 0, 3), (1, 1, 2)], partitions=1024, cuts=[])
    find_later_records(spill)
    assert found(spill) == {1: Later(equal=True, twin=1), 2: Later(equal=False, twin=0)}


def test_a_pass_that_was_killed_begins_anew_and_one_that_ended_is_not_repeated(
    tmp_path: Path,
) -> None:
    records = [(1, 0, 0), (1, 1, 0), (2, 0, 0)]
    spill = spilled(tmp_path, records, partitions=1, cuts=[])
    find_later_records(spill)
    whole = (tmp_path / "0.later").read_bytes()
    (tmp_path / "ordered").unlink()
    (tmp_path / "0.later").write_bytes(whole + whole[:-3])
    find_later_records(spill)
    assert (tmp_path / "0.later").read_bytes() == whole
    (tmp_path / "0.later").unlink()
    find_later_records(spill)
    assert later_records(spill, 0) == {}


@pytest.mark.parametrize("partitions", [2, 16, 1024])
def test_workers_in_partitions_of_their_own_share_no_lock(tmp_path: Path, partitions: int) -> None:
    """Else they would write in turns, however many they are."""
    records = [(number, 0, number) for number in range(2000)]
    spill = spilled(tmp_path, records, partitions=partitions, cuts=[])
    leads = [{record[0] for record in spill.taken(number)} for number in range(partitions)]
    locks = [set(lock_slots(some)) for some in leads if some]
    assert len(locks) > partitions // 2 > 0
    assert all(one.isdisjoint(other) for one, other in combinations(locks, 2))

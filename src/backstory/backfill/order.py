"""Decides, before any record is written, which of several under one audit id comes first.

The decision is made over the whole input, so it does not depend on how leads were partitioned or
how many workers write: the first in source order wins; any other record under the id is a
duplicate when its content is the same, else a conflict.
"""

import struct
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

from backstory.backfill.spill import ID_ENTRY_BYTES, Spill, id_entries, written_to

_ENTRY = struct.Struct("<Q?I")
_ID_BYTES = 16


class Later(NamedTuple):
    """A record that is not the first under its id: equal to the first or not, and which twin.

    `twin` numbers the records of this id with this very content, so that each can have a row.
    """

    equal: bool
    twin: int


def find_later_records(spill: Spill) -> None:
    """Write down every record that is not the first under its id, once for each spill."""
    done = spill.directory / "ordered"
    if done.exists():
        return
    for stale in spill.directory.glob("*.later"):
        stale.unlink()
    for slot in range(spill.partitions):
        for partition, rows in _later_in(spill.ids(slot)).items():
            file = _file(spill, partition)
            with written_to(file), file.open("ab") as handle:
                handle.writelines(rows)
    done.touch()


def _later_in(packed: bytes) -> dict[int, list[bytes]]:
    starts = range(0, len(packed), ID_ENTRY_BYTES)
    occurrences = Counter(packed[start : start + _ID_BYTES] for start in starts)
    found: dict[int, list[bytes]] = defaultdict(list)
    if len(occurrences) == len(starts):
        return found
    first: dict[bytes, bytes] = {}
    twins: Counter[tuple[bytes, bytes]] = Counter()
    several = (entry for entry in id_entries(packed) if occurrences[entry.record_id] > 1)
    for record_id, seq, content_hash, partition in sorted(several, key=lambda entry: entry.seq):
        twin = twins[record_id, content_hash]
        twins[record_id, content_hash] += 1
        if record_id in first:
            equal = first[record_id] == content_hash
            found[partition].append(_ENTRY.pack(seq, equal, twin))
        else:
            first[record_id] = content_hash
    return found


def later_records(spill: Spill, partition: int) -> dict[int, Later]:
    """Return, by position, the records of a partition that are not the first under their id."""
    file = _file(spill, partition)
    if not file.exists():
        return {}
    return {seq: Later(equal, twin) for seq, equal, twin in _ENTRY.iter_unpack(file.read_bytes())}


def _file(spill: Spill, partition: int) -> Path:
    return spill.directory / f"{partition}.later"

"""Parquet: each type of column as the JSON a reader expects, and files that cannot be read."""

import json
import sys
import uuid
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from backstory.audit.source import Kind, open_sources
from backstory.errors import SourceError

MOMENT = datetime(2025, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
CELLS = {
    "id": "a1",
    "leadId": "l1",
    "actor": "customer",
    "action": "said",
    "payload": '{"text": "hi"}',
    "created_at": "2025-01-01T00:00:00Z",
}


@pytest.fixture
def opened(tmp_path):
    def write(columns, *, kind=Kind.AUDIT, mapped=None, **options):
        path = tmp_path / "audit.parquet"
        table = columns if isinstance(columns, pa.Table) else pa.table(columns)
        pq.write_table(table, path, **options)
        [source] = open_sources([str(path)], kind, table=None, columns=mapped or {}, spool=tmp_path)
        source.check()
        return source

    return write


@pytest.fixture
def record(opened):
    def read(**changed):
        columns = {name: pa.array([value]) for name, value in CELLS.items()} | changed
        [(position, line)] = opened(columns).read()
        assert position == 1
        return json.loads(line)

    return read


def test_text_columns_are_taken_as_they_are_and_the_payload_as_json(record):
    assert record() == {
        "id": "a1",
        "lead_id": "l1",
        "actor": "customer",
        "action": "said",
        "payload": {"text": "hi"},
        "created_at": "2025-01-01T00:00:00Z",
    }


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (pa.array(['{"n": 12345678901234567890123}']), {"n": 12345678901234567890123}),
        (pa.array([b'{"a": 1}']), {"a": 1}),
        (pa.array(['{"a": 1}']).dictionary_encode(), {"a": 1}),
        (pa.array(['{"a": 1}'], pa.json_()), {"a": 1}),
        (pa.array(['{"a": 1}'], pa.large_string()), {"a": 1}),
        (pa.array([None], pa.string()), None),
        (pa.array([{"text": "hi", "n": None}]), {"text": "hi", "n": None}),
        (pa.array([None], pa.struct([("text", pa.string())])), None),
        (pa.array([[("k", "v")]], pa.map_(pa.string(), pa.string())), {"k": "v"}),
        (
            pa.array(
                [{"m": [[("k", 1)]]}], pa.struct([("m", pa.list_(pa.map_(pa.string(), pa.int8())))])
            ),
            {"m": [{"k": 1}]},
        ),
        (pa.array([{"at": MOMENT}]), {"at": "2025-01-02T03:04:05.678901+00:00"}),
        (
            pa.array([{"at": [1]}], pa.struct([("at", pa.list_(pa.timestamp("ns")))])),
            {"at": ["1970-01-01T00:00:00"]},
        ),
        (pa.array([{"price": Decimal("12345678901234567.10")}]), {"price": 12345678901234567.10}),
        (pa.array([{"raw": b"\xff\xfe", "text": b"plain"}]), {"raw": "//4=", "text": "plain"}),
        (pa.array([{"f": float("nan")}]), {"f": None}),
        (pa.array([["a", "b"]]), ["a", "b"]),
    ],
)
def test_a_payload_of_any_type_becomes_json(record, payload, expected):
    assert record(payload=payload)["payload"] == expected


def test_a_decimal_keeps_its_digits(opened):
    price = pa.array([{"price": Decimal("12345678901234567.10")}])
    columns = {name: pa.array([value]) for name, value in CELLS.items()} | {"payload": price}
    [(_, line)] = opened(columns).read()
    assert b'"price":12345678901234567.10' in line


@pytest.mark.parametrize("payload", ["hello", "NaN", '{"a": 1'])
def test_a_payload_that_is_no_json_is_said_to_be_unreadable(record, payload):
    found = record(payload=pa.array([payload]))
    assert found["payload_unreadable"] == payload
    assert "payload" not in found


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (pa.array([MOMENT], pa.timestamp("us", tz="UTC")), "2025-01-02T03:04:05.678901+00:00"),
        (
            pa.array([MOMENT], pa.timestamp("us", tz="America/New_York")),
            "2025-01-02T03:04:05.678901+00:00",
        ),
        (pa.array([1_735_787_045_678_901_234], pa.timestamp("ns")), "2025-01-02T03:04:05.678901"),
        (pa.array([MOMENT.replace(tzinfo=None)], pa.timestamp("ms")), "2025-01-02T03:04:05.678000"),
        (pa.array([date(2025, 1, 2)]), "2025-01-02"),
        (pa.array([1_735_787_045]), 1_735_787_045),
        (pa.array([1_735_787_045.5]), 1_735_787_045.5),
        (pa.array([None], pa.timestamp("us")), None),
    ],
)
def test_a_time_has_a_zone_only_if_its_column_has_one(opened, time, expected):
    arrays = {name: pa.array([value]) for name, value in CELLS.items()}
    if pa.types.is_timestamp(time.type) and time.type.unit == "ms":
        time = pa.array([MOMENT.replace(tzinfo=None, microsecond=678000)], pa.timestamp("ms"))
    [(_, line)] = opened(arrays | {"created_at": time}).read()
    assert json.loads(line)["created_at"] == expected


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (pa.array([9_007_199_254_740_993]), "9007199254740993"),
        (pa.array([1234567.0]), "1234567"),
        (pa.array([Decimal(12345678901234567890)]), "12345678901234567890"),
        (pa.array([uuid.UUID(int=5).bytes], pa.binary(16)), str(uuid.UUID(int=5))),
        (pa.array([uuid.UUID(int=5).bytes], pa.uuid()), str(uuid.UUID(int=5))),
        (pa.array([b"abc"]), "abc"),
        (pa.array([None], pa.float64()), None),
        (pa.array([None], pa.binary(16)), None),
    ],
)
def test_an_id_of_any_type_is_text(record, ids, expected):
    assert record(leadId=ids)["lead_id"] == expected


def test_a_value_that_python_cannot_hold_fails_only_its_own_row(opened):
    columns = {name: pa.array([value] * 3) for name, value in CELLS.items()}
    columns["created_at"] = pa.array([0, 2**60, 0], pa.int64()).view(pa.timestamp("us"))
    rows = [json.loads(line) for _, line in opened(columns).read()]
    assert ["row_unreadable" in row for row in rows] == [False, True, False]


def test_rows_are_numbered_across_batches_and_row_groups(opened):
    count = 10_000
    columns = {name: pa.array([value] * count) for name, value in CELLS.items()}
    columns["id"] = pa.array(range(count))
    source = opened(columns, row_group_size=3_000)
    rows = [(position, json.loads(line)["id"]) for position, line in source.read()]
    assert rows == [(number + 1, str(number)) for number in range(count)]
    assert source.where(17) == "audit.parquet row 17"
    assert source.estimated_bytes() > 0


def test_columns_we_do_not_know_are_left_where_they_are(opened):
    columns = {name: pa.array([value]) for name, value in CELLS.items()} | {"big": pa.array(["x"])}
    [(_, line)] = opened(columns).read()
    assert b"big" not in line


def test_a_missing_column_names_those_there_are(opened):
    columns = {"id": pa.array(["a"]), "thread": pa.array(["t"])}
    with pytest.raises(SourceError, match=r"no column for lead_id; its columns are id, thread\."):
        opened(columns)


def test_a_column_that_is_there_twice_is_refused(opened):
    columns = [pa.array([value]) for value in CELLS.values()]
    table = pa.Table.from_arrays([*columns, columns[0]], names=[*CELLS, "id"])
    with pytest.raises(SourceError, match=r"audit.parquet has 'id' twice: rename"):
        opened(table)
    another = pa.Table.from_arrays([*columns, *columns[:2]], names=[*CELLS, "x", "x"])
    assert len(list(opened(another).read())) == 1


def test_a_damaged_file_is_said_in_words(tmp_path):
    path = tmp_path / "audit.parquet"
    path.write_bytes(b"PAR1 and then nothing")
    [source] = open_sources([str(path)], Kind.AUDIT, table=None, columns={}, spool=tmp_path)
    with pytest.raises(SourceError, match=r"audit.parquet row 1: the file is .*damaged"):
        source.check()
    path.write_bytes(b"nothing")
    with pytest.raises(SourceError, match=r"named .parquet but is no such file"):
        open_sources([str(path)], Kind.AUDIT, table=None, columns={}, spool=tmp_path)


def test_a_page_that_is_damaged_names_the_row_reached(opened):
    count = 20_000
    columns = {name: pa.array([value] * count) for name, value in CELLS.items()}
    columns["id"] = pa.array([f"{number:032d}" for number in range(count)])
    source = opened(columns, row_group_size=5_000, use_dictionary=False, compression="zstd")
    whole = bytearray(source.file.path.read_bytes())
    middle = len(whole) // 2
    whole[middle : middle + 64] = bytes(64)
    source.file.path.write_bytes(whole)
    with pytest.raises(SourceError, match=r"audit.parquet row \d{4,}: the file is .*damaged"):
        list(source.read())


def test_without_pyarrow_the_way_to_install_it_is_told(opened, monkeypatch):
    source = opened({name: pa.array([value]) for name, value in CELLS.items()})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(SourceError, match=r"pip install 'backstory\[parquet\]'"):
        source.check()

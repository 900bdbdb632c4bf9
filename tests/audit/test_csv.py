"""CSV: a header with our names, or mapped ones, JSON in cells, and rows that do not fit."""

import csv
import gzip
import io
import json
import pickle

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from backstory.audit.cells import json_cell, line_of
from backstory.audit.source import MAX_LINE_BYTES, Kind, Oversized, open_sources
from backstory.errors import SourceError

HEADER = "id,lead_id,actor,action,payload,created_at\n"
ROW = 'a1,l1,customer,said,"{""text"": ""hi""}",2025-01-01T00:00:00Z\n'
RECORD = {
    "id": "a1",
    "lead_id": "l1",
    "actor": "customer",
    "action": "said",
    "payload": {"text": "hi"},
    "created_at": "2025-01-01T00:00:00Z",
}


@pytest.fixture
def opened(tmp_path):
    def open_one(data, name="audit.csv", *, kind=Kind.AUDIT, columns=None):
        path = tmp_path / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        [source] = open_sources(
            [str(path)], kind, table=None, columns=columns or {}, spool=tmp_path
        )
        source.check()
        return source

    return open_one


@pytest.fixture
def records(opened):
    def read(data, *arguments, **options):
        source = opened(data, *arguments, **options)
        return [(position, json.loads(line)) for position, line in source.read()]

    return read


def test_a_row_is_an_object_with_our_names_and_its_payload_as_json(records):
    assert records(HEADER + ROW) == [(2, RECORD)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_delimiter_line_ends_and_byte_order_mark_are_taken_as_they_come(records, delimiter, ends):
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator=ends)
    writer.writerow(RECORD)
    writer.writerow([*list(RECORD.values())[:4], '{"text": "a, b; c"}', RECORD["created_at"]])
    expected = RECORD | {"payload": {"text": "a, b; c"}}
    assert records("\ufeff" + text.getvalue()) == [(2, expected)]


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("audit.csv", bytes),
        ("audit.csv.gz", gzip.compress),
        ("audit.csv.zst", zstandard.compress),
        ("stdin-audit", bytes),
        ("export.txt", gzip.compress),
    ],
)
def test_csv_is_told_by_its_name_or_by_its_header(records, name, pack):
    assert records(pack((HEADER + ROW).encode()), name) == [(2, RECORD)]


def test_json_lines_are_never_taken_for_csv(opened):
    line = json.dumps(RECORD)
    assert list(opened(line, "stdin-audit").read()) == [(1, line.encode())]


def test_a_position_is_the_physical_line_where_the_row_starts(records):
    quoted = 'a1,l1,customer,"said\r\ntwice","{\n""text"": ""hi""\n}",2025-01-01T00:00:00Z\n'
    found = records(HEADER + quoted + "\n  \n" + ROW)
    assert found == [(2, RECORD | {"action": "said\r\ntwice"}), (8, RECORD)]


def test_a_line_of_json_has_no_line_break_though_its_cell_had_some(opened):
    [(_, line)] = opened(HEADER + 'a,b,c,d,"{\r\n""x"":\n1}",e\n').read()
    assert b"\n" not in line
    assert b"\r" not in line
    assert json.loads(line)["payload"] == {"x": 1}


def test_empty_cells_are_null(records):
    [(_, record)] = records(HEADER + "a1,,,,,\n")
    assert record == dict.fromkeys(RECORD) | {"id": "a1"}


@pytest.mark.parametrize(
    "number", ["123456789012345678901234567890.5", "9007199254740993", "1e-7", "-0.0", "1e400"]
)
def test_numbers_in_a_payload_are_kept_digit_by_digit(opened, number):
    [(_, line)] = opened(HEADER + f'a,b,c,d,"{{""n"": {number}}}",e\n').read()
    assert f'"payload":{{"n": {number}}}'.encode() in line


@pytest.mark.parametrize("cell", ["hello", "NaN", "[1", "{} {}", '{"a":Infinity}', "[" * 100_000])
def test_a_payload_that_is_no_json_is_said_to_be_unreadable(records, cell):
    quoted = cell.replace('"', '""')
    [(_, record)] = records(HEADER + f'a,b,c,d,"{quoted}",e\n')
    assert record["payload_unreadable"] == cell
    assert "payload" not in record


@pytest.mark.parametrize(
    ("row", "found"), [("a,b,c,d,{}", 5), ("a,b,c,d,{},e,f,g", 8), ("nonsense", 1)]
)
def test_a_row_that_does_not_fit_says_so_and_keeps_its_cells(records, row, found):
    [(position, bad), after] = records(HEADER + row + "\n" + ROW)
    assert position == 2
    assert bad["row_unreadable"] == f"expected 6 cells, found {found}"
    kept = [bad[name] for name in RECORD if name in bad] + bad.get("more_cells", [])
    assert kept == row.split(",")
    assert after == (3, RECORD)


def test_a_row_with_unbalanced_quotes_fails_alone(records):
    [(position, bad), after] = records(HEADER + 'a,b,c,d,"{\\"x\\": 1}",e\n' + ROW)
    assert position == 2
    assert "quotes are not balanced" in bad["row_unreadable"]
    assert bad["row"] == 'a,b,c,d,"{\\"x\\": 1}",e\n'
    assert after == (3, RECORD)


def test_a_quote_that_is_never_closed_names_the_line_where_it_opens(opened):
    source = opened(HEADER + ROW + 'a,b,c,"d,{},e\n' + ROW.replace('"', "") * 5)
    rows = source.read()
    next(rows)
    with pytest.raises(SourceError, match=r"^audit.csv:3: a quote opens in this row"):
        next(rows)


def test_an_open_quote_before_many_rows_is_found_in_bounded_memory(opened):
    rest = ("x" * 999 + "\n").encode() * (MAX_LINE_BYTES // 1000 + 10)
    with pytest.raises(SourceError, match=r"^audit.csv:2: a quote opens in this row"):
        list(opened(HEADER.encode() + b'a,"b,c,d,{},e\n' + rest).read())


@pytest.mark.parametrize("column", range(6))
def test_bytes_that_are_no_utf8_fail_only_their_own_row(opened, column):
    cells = ["a", "b", "c", "d", '"{""x"": ""y""}"', "e"]
    cells[column] = '"{""x"": ""\xff""}"' if column == 4 else "\xff"
    bad = ",".join(cells).encode("latin-1") + b"\n"
    source = opened(HEADER.encode() + bad + ROW.encode() + "é,,,,,\n".encode())
    [(_, broken), (_, good), (_, accented)] = source.read()
    with pytest.raises(UnicodeDecodeError):
        broken.decode()
    assert b"\xff" in broken
    assert json.loads(good) == RECORD
    assert json.loads(accented)["id"] == "é"


def test_a_line_too_long_fails_alone(opened):
    huge = b"x" * (MAX_LINE_BYTES + 5)
    [(first, line), (second, good)] = opened(HEADER.encode() + huge + b"\n" + ROW.encode()).read()
    assert (first, second) == (2, 3)
    assert line == Oversized(huge[:65536], len(huge))
    assert json.loads(good) == RECORD


def test_columns_are_found_in_any_case_and_by_the_map(records):
    header = 'Key,"Lead ID",ACTOR,action,payload,createdAt,id,note\n'
    row = "k1,l1,customer,said,,2025-01-01,other,kept\n"
    [(_, record)] = records(header + row, columns={"audit.id": "Key"})
    assert record == RECORD | {
        "id": "k1",
        "payload": None,
        "created_at": "2025-01-01",
        "note": "kept",
    }


def test_a_map_to_nothing_says_that_there_is_no_such_column(records):
    [(_, record)] = records(
        "id,lead_id,actor,payload,created_at\na,b,c,,d\n", columns={"action": ""}
    )
    assert "action" not in record


def test_a_list_of_leads_needs_only_id_and_time(records):
    [(_, record)] = records(
        'id,created_at,messengerPsid,stateMetadata\nl1,2025-01-01,77,"{""a"":1}"\n', kind=Kind.LEAD
    )
    assert record == {
        "id": "l1",
        "created_at": "2025-01-01",
        "messenger_psid": "77",
        "state_metadata": {"a": 1},
    }


@pytest.mark.parametrize(
    ("data", "columns", "sentence"),
    [
        (b"id,lead_id\n", {}, r"has no column for actor; its columns are id, lead_id\. .*--map"),
        (HEADER.encode(), {"id": "key"}, r"has no column 'key' for id; .*--map audit.id=COLUMN"),
        (b"", {}, r"audit.csv is empty: CSV begins with a line of column names"),
        (b'"id,lead_id\n', {}, r"audit.csv:1: the first line is no CSV header"),
        (b"x" * (MAX_LINE_BYTES + 1), {}, r"audit.csv:1: the first line is no CSV header"),
        (b"id,\xe9t\xe9\n", {}, r"not UTF-8: .*iconv"),
        (b"id,id,lead_id,actor,action,payload,created_at\n", {}, r"has 'id' twice"),
    ],
)
def test_a_header_that_does_not_do_is_said_in_words(opened, data, columns, sentence):
    with pytest.raises(SourceError, match=sentence):
        opened(data, columns=columns)


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_a_cut_archive_names_the_line_and_what_to_do(opened, pack):
    rows = "".join(f"{n * 7919 % 100_003:032d},l,c,d,,e\n" for n in range(50_000))
    packed = pack((HEADER + rows).encode())
    with pytest.raises(SourceError, match=r"audit.csv:\d{4,}: the .* archive is damaged or cut"):
        list(opened(packed[: len(packed) // 2]).read())


def test_the_source_travels_and_its_lines_need_no_mapping(opened):
    source = opened(HEADER + ROW)
    assert list(pickle.loads(pickle.dumps(source)).read()) == list(source.read())  # noqa: S301 - bytes we have just made
    assert source.columns == {}
    assert len(source.segments(8)) == 1
    assert source.where(2) == "audit.csv:2"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ),
    st.sampled_from([None, 1]),
)
def test_any_json_in_a_cell_means_the_same_in_the_line(value, indent):
    name, cell = json_cell("payload", json.dumps(value, indent=indent))
    line = line_of({"id": "x", name: cell})
    assert b"\n" not in line
    assert json.loads(line) == {"id": "x", "payload": value}


@given(st.lists(st.lists(st.text(), min_size=5, max_size=5), max_size=10))
def test_what_a_csv_writer_writes_is_read_back(tmp_path_factory, rows):
    names = ["actor", "action", "payload2", "x", "y"]
    path = tmp_path_factory.mktemp("csv") / "audit.csv"
    with path.open("w", encoding="utf-8", errors="surrogatepass", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerow(names)
        writer.writerows(rows)
    absent = dict.fromkeys(["id", "lead_id", "payload", "created_at"], "")
    [source] = open_sources([str(path)], Kind.AUDIT, table=None, columns=absent, spool=path.parent)
    found = [list(json.loads(line).values()) for _, line in source.read()]
    assert found == [[cell or None for cell in row] for row in rows]

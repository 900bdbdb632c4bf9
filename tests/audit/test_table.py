"""A PostgreSQL table: every row exactly once, in short transactions, whatever its ids and shape."""

import json
import pickle
from collections import Counter
from urllib.parse import quote, urlencode

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from backstory.audit import connect, table
from backstory.audit.source import HEAD_BYTES, MAX_LINE_BYTES, Kind, Oversized, open_sources
from backstory.errors import DatabaseUnreachable, SourceError, UsageError

PRISMA = """
CREATE TABLE "Audit" (id text PRIMARY KEY, "leadId" text, actor text, action text,
                      payload jsonb, "createdAt" timestamp(3));
CREATE TABLE "Lead" (id text PRIMARY KEY, "customerId" text, channel text, "messengerPsid" text,
                     phone text, email text, name text, stage text, "stateMetadata" jsonb,
                     "createdAt" timestamp(3));
"""
LOG = """CREATE TABLE {name} (id {id}, lead_id text, actor text, action text,
                              payload {payload}, created_at {time})"""


@pytest.fixture
def database(empty_database_url):
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def opened(empty_database_url, tmp_path):
    def open_one(name=None, *, kind=Kind.AUDIT, columns=None, url=empty_database_url):
        [source] = open_sources([url], kind, table=name, columns=columns or {}, spool=tmp_path)
        return source

    return open_one


@pytest.fixture
def records(opened):
    def read(*arguments, **options):
        source = opened(*arguments, **options)
        source.check()
        rows = list(source.read())
        assert [position for position, _ in rows] == list(range(1, len(rows) + 1))
        assert all(b"\n" not in line for _, line in rows)
        return [json.loads(line) for _, line in rows]

    return read


def create(database, name="audit", *, key="text PRIMARY KEY", payload="jsonb", time="timestamptz"):
    database.execute(LOG.format(name=name, id=key, payload=payload, time=time))


def with_options(url, **options):
    return f"{url}{'&' if '?' in url else '?'}{urlencode(options, quote_via=quote)}"


def test_the_tables_of_prisma_are_the_default(database, records):
    database.execute(PRISMA)
    database.execute(
        """INSERT INTO "Audit" VALUES
           ('a1', 'l1', 'customer', 'said', '{"text": "hi", "n": 1.50}', '2025-01-02 03:04:05.678'),
           ('a2', NULL, 'agent', 'said', NULL, '2025-01-02')"""
    )
    database.execute(
        """INSERT INTO "Lead" VALUES ('l1', NULL, 'sms', NULL, '+1', 'a@b.c', 'Ann', 'new',
                                      '{"a": [1]}', '2025-01-01')"""
    )
    assert records() == [
        {
            "id": "a1",
            "lead_id": "l1",
            "actor": "customer",
            "action": "said",
            "payload": {"text": "hi", "n": 1.5},
            "created_at": "2025-01-02 03:04:05.678",
        },
        {
            "id": "a2",
            "lead_id": None,
            "actor": "agent",
            "action": "said",
            "payload": None,
            "created_at": "2025-01-02 00:00:00",
        },
    ]
    [lead] = records(kind=Kind.LEAD)
    assert lead == {
        "id": "l1",
        "customer_id": None,
        "channel": "sms",
        "messenger_psid": None,
        "phone": "+1",
        "email": "a@b.c",
        "name": "Ann",
        "stage": "new",
        "state_metadata": {"a": [1]},
        "created_at": "2025-01-01 00:00:00",
    }


@pytest.mark.parametrize(
    ("created", "asked"),
    [
        ("audit", None),
        ('"Audit"', "Audit"),
        ('"Audit"', '"Audit"'),
        ("audit", "AUDIT"),
        ('crm."Audit"', "crm.Audit"),
        ('crm."Audit"', '"crm"."Audit"'),
        ('"a.b"."x ""y"" %"', '"a.b"."x ""y"" %"'),
    ],
)
def test_a_table_is_found_as_people_write_it(database, records, opened, created, asked):
    database.execute('CREATE SCHEMA crm; CREATE SCHEMA "a.b"')
    create(database, created)
    database.execute(f"INSERT INTO {created} VALUES ('1')")
    assert [record["id"] for record in records(asked)] == ["1"]
    assert opened(asked).where(17) == f"{asked or 'Audit'} row 17"


def test_a_prisma_url_names_its_schema(database, records, empty_database_url):
    database.execute("CREATE SCHEMA crm")
    create(database, "audit")
    create(database, "crm.audit")
    database.execute("INSERT INTO crm.audit VALUES ('from crm')")
    url = with_options(empty_database_url, schema="crm", connection_limit=5, pgbouncer="true")
    [record] = records(url=url.replace("postgresql://", "postgres://"))
    assert record["id"] == "from crm"
    assert records() == []


def test_any_column_can_be_mapped(database, records):
    database.execute(
        """CREATE TABLE log ("Key%" int PRIMARY KEY, thread uuid, who text, what text, data json,
                             at bigint)"""
    )
    database.execute("INSERT INTO log VALUES (7, gen_random_uuid(), 'u', 'w', '[1]', 1735787045)")
    columns = {
        "id": "Key%",
        "lead_id": "thread",
        "actor": "who",
        "action": "",
        "payload": "data",
        "audit.created_at": "at",
    }
    [record] = records("log", columns=columns)
    assert (record["id"], record["payload"], record["created_at"]) == ("7", [1], "1735787045")
    assert "action" not in record


@pytest.mark.parametrize("payload", ["json", "jsonb", "text", "varchar"])
def test_a_payload_is_json_whatever_its_type(database, records, opened, payload):
    create(database, payload=payload)
    value = '{"text":\r\n "é \\u00e9 \\" ", "n": 12345678901234567890123, "x": [null, {}]}'
    database.execute("INSERT INTO audit (id, payload) VALUES ('1', %s), ('2', NULL)", (value,))
    [first, second] = records()
    assert first["payload"] == json.loads(value)
    assert second["payload"] is None
    [(_, line), _] = opened().read()
    assert b"12345678901234567890123" in line


@pytest.mark.parametrize(
    ("encoding", "stored", "told"),
    [
        ("LATIN1", b"caf\xe9", "caf\u00e9".encode()),
        ("SQL_ASCII", b"caf\xc3\xa9", "caf\u00e9".encode()),
        ("SQL_ASCII", b"caf\xe9", b"caf\xe9"),
    ],
)
def test_text_is_utf8_whatever_the_encoding_of_the_database(  # noqa: PLR0917 - fixtures, and a case
    database, opened, empty_database_url, encoding, stored, told
):
    name = f"in_{encoding.lower()}"
    database.execute(f"CREATE DATABASE {name} ENCODING {encoding} LOCALE 'C' TEMPLATE template0")
    try:
        url = with_options(empty_database_url, dbname=name)
        with psycopg.connect(url, client_encoding=encoding) as connection:
            create(connection, payload="text")
            body = b'\'{"text": "' + stored + b"\"}'"
            connection.execute(
                b"INSERT INTO audit (id, payload) VALUES ('" + stored + b"', " + body + b")"
            )
        [(_, line)] = opened(url=url).read()
        assert b'"id":"' + told + b'"' in line
        assert b'"payload":{"text": "' + told + b'"}' in line
    finally:
        database.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.parametrize("cell", ["hello", "NaN", "[1", "{}{}"])
def test_text_that_is_no_json_is_said_to_be_unreadable(database, records, cell):
    create(database, payload="text")
    database.execute("INSERT INTO audit (id, payload) VALUES ('1', %s)", (cell,))
    [record] = records()
    assert record["payload_unreadable"] == cell


def test_keys_are_written_so_that_the_quick_parser_takes_them(database, opened):
    create(database)
    database.execute("""INSERT INTO audit VALUES ('1', 'l', 'a', 'b', '{"k": "v"}', now())""")
    [(_, line)] = opened().read()
    assert b'" :' not in line


@pytest.mark.parametrize(
    ("time", "stored", "told"),
    [
        ("timestamp(3)", "2025-01-02 03:04:05.678", "2025-01-02 03:04:05.678"),
        ("timestamptz", "2025-01-02 03:04:05+05", "2025-01-01 22:04:05+00"),
        ("date", "2025-01-02", "2025-01-02"),
        ("text", "yesterday", "yesterday"),
        ("bigint", "1735787045000", "1735787045000"),
        ("timestamptz", "infinity", "infinity"),
    ],
)
def test_a_time_has_a_zone_only_if_its_column_has_one(database, records, time, stored, told):
    create(database, time=time)
    database.execute("ALTER ROLE current_user SET timezone TO 'Asia/Tokyo'")
    database.execute("ALTER ROLE current_user SET datestyle TO 'SQL, DMY'")
    try:
        database.execute("INSERT INTO audit (id, created_at) VALUES ('1', %s)", (stored,))
        assert [record["created_at"] for record in records()] == [told]
    finally:
        database.execute("ALTER ROLE current_user RESET ALL")


@pytest.mark.parametrize(
    ("key", "ids"),
    [
        ("bigint PRIMARY KEY", ["-5", "9", "10", "9223372036854775807"]),
        ("uuid PRIMARY KEY", ["0b0b0b0b-0000-0000-0000-000000000000"]),
        ("numeric PRIMARY KEY", ["-1.5", "1", "10.00"]),
        ("char(3) PRIMARY KEY", ["a", "ab", "abc"]),
        ("varchar(5) PRIMARY KEY", ["", " ", "a b", "\u00e9"]),
        ("timestamptz PRIMARY KEY", ["2025-01-01 00:00:00+00", "2025-01-01 00:00:00.000001+00"]),
        ("mood PRIMARY KEY", ["sad", "happy"]),
        ("short PRIMARY KEY", ["x", "y"]),
    ],
)
def test_ids_of_any_type_are_paged(database, records, monkeypatch, key, ids):
    monkeypatch.setattr(table, "PAGE_ROWS", 2)
    database.execute("CREATE TYPE mood AS ENUM ('sad', 'happy')")
    database.execute("CREATE DOMAIN short AS text CHECK (length(value) < 3)")
    create(database, key=key)
    for each in ids:
        database.execute("INSERT INTO audit (id) VALUES (%s)", (each,))
    # PostgreSQL drops the padding of char(n) when it becomes text.
    assert sorted(record["id"] for record in records()) == sorted(ids)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60
)
@given(
    ids=st.lists(st.none() | st.sampled_from(["1", "1.0", "2", "2.00", "3"]), max_size=25),
    page=st.integers(1, 6),
    room=st.sampled_from([1, 250, 1 << 20]),
    index=st.booleans(),
)
@example(ids=["1"] * 20 + ["2"], page=3, room=1 << 20, index=True)
@example(ids=["1", "1.0"] * 9 + [None] * 9, page=4, room=1 << 20, index=False)
def test_every_row_comes_once_whatever_ids_they_share(  # noqa: PLR0917 - fixtures, and what is drawn
    database, opened, monkeypatch, ids, page, room, index
):
    """Numbers, because 1 and 1.0 tie in the order though their text differs."""
    monkeypatch.setattr(table, "PAGE_ROWS", page)
    monkeypatch.setattr(table, "UNINDEXED_PAGE_ROWS", page)
    monkeypatch.setattr(table, "PAGE_BYTES", room)
    database.execute("DROP TABLE IF EXISTS audit")
    create(database, key="numeric")
    if index:
        database.execute("CREATE INDEX ON audit (id)")
    for number, each in enumerate(ids):
        database.execute("INSERT INTO audit (id, actor) VALUES (%s, %s)", (each, str(number)))
    rows = [json.loads(line) for _, line in opened().read()]
    assert Counter((row["id"], row["actor"]) for row in rows) == Counter(
        (each, str(number)) for number, each in enumerate(ids)
    )
    order = [float(row["id"] or "inf") for row in rows]
    assert order == sorted(order)


@pytest.mark.parametrize(
    "form",
    ["VIEW source AS SELECT * FROM audit", "MATERIALIZED VIEW source AS SELECT * FROM audit"],
)
def test_a_view_is_read_like_a_table(database, opened, records, monkeypatch, form):
    monkeypatch.setattr(table, "UNINDEXED_PAGE_ROWS", 7)
    create(database)
    database.execute("INSERT INTO audit SELECT i::text FROM generate_series(1, 50) AS i")
    database.execute(f"CREATE {form}")
    assert len(records("source")) == 50
    assert opened("source").estimated_bytes() > 0


def test_a_partitioned_table_is_read_as_one(database, opened, records, monkeypatch):
    monkeypatch.setattr(table, "PAGE_ROWS", 7)
    database.execute(
        LOG.format(name="audit", id="int PRIMARY KEY", payload="json", time="date")
        + " PARTITION BY HASH (id)"
    )
    for part in range(3):
        database.execute(
            f"CREATE TABLE audit_{part} PARTITION OF audit "
            f"FOR VALUES WITH (MODULUS 3, REMAINDER {part})"
        )
    database.execute("INSERT INTO audit SELECT generate_series(1, 50)")
    assert [int(record["id"]) for record in records()] == list(range(1, 51))
    assert opened().estimated_bytes() >= 8192


def test_no_transaction_is_open_while_the_rows_of_a_page_are_used(database, opened, monkeypatch):
    monkeypatch.setattr(table, "PAGE_ROWS", 10)
    create(database)
    database.execute("INSERT INTO audit SELECT i::text FROM generate_series(1, 100) AS i")
    rows = opened().read()
    for _ in range(55):
        next(rows)
    states = database.execute(
        "SELECT state FROM pg_stat_activity WHERE datname = current_database() "
        "AND pid <> pg_backend_pid() AND application_name = 'backstory'"
    ).fetchall()
    assert states == [("idle",)]
    rows.close()


def test_rows_that_were_there_all_along_are_read_once_while_others_come_and_go(
    database, opened, monkeypatch
):
    monkeypatch.setattr(table, "PAGE_ROWS", 10)
    create(database, key="int PRIMARY KEY")
    database.execute("INSERT INTO audit SELECT generate_series(0, 198, 2)")
    seen = Counter()
    for number, line in opened().read():
        seen[int(json.loads(line)["id"])] += 1
        if number % 7 == 0:
            database.execute("INSERT INTO audit VALUES (%s) ON CONFLICT DO NOTHING", (number,))
            database.execute("UPDATE audit SET actor = 'x' WHERE id % 5 = 0")
            database.execute("DELETE FROM audit WHERE id = %s", (200 - number,))
    stayed = {row[0] for row in database.execute("SELECT id FROM audit WHERE id % 2 = 0")}
    assert stayed <= set(seen)
    assert set(seen.values()) == {1}


def test_the_source_is_only_ever_read(database, records):
    database.execute("CREATE SEQUENCE used")
    create(database, "log")
    database.execute("INSERT INTO log VALUES ('1')")
    database.execute(
        "CREATE VIEW audit AS SELECT id, lead_id, actor, nextval('used') AS action, payload, "
        "created_at FROM log"
    )
    with pytest.raises(SourceError, match="read-only transaction"):
        records()


def test_large_rows_make_small_pages(database, opened, monkeypatch):
    monkeypatch.setattr(table, "PAGE_BYTES", 100_000)
    create(database, payload="text")
    database.execute(
        """INSERT INTO audit (id, payload)
           SELECT i::text, to_json(repeat('x', 30000))::text FROM generate_series(1, 40) AS i"""
    )
    sizes = []
    page = table.Pages.page

    def counted(self, after, *, rows):
        found, complete = page(self, after, rows=rows)
        sizes.append(len(found))
        return found, complete

    monkeypatch.setattr(table.Pages, "page", counted)
    assert len(list(opened().read())) == 40
    assert max(sizes) <= 4


def test_a_row_beyond_the_limit_is_its_head_and_its_size(database, opened):
    create(database)
    database.execute(
        """INSERT INTO audit (id, payload) VALUES
           ('1', to_jsonb(repeat('x', %s::int))), ('2', NULL)""",
        (MAX_LINE_BYTES,),
    )
    [(_, first), (_, second)] = opened().read()
    assert isinstance(first, Oversized)
    assert first.size > MAX_LINE_BYTES
    assert len(first.head) == HEAD_BYTES
    assert json.loads(second)["id"] == "2"


def test_a_missing_table_is_answered_with_the_names_that_were_tried_and_those_like_it(
    database, opened
):
    with pytest.raises(SourceError, match=r'no table "Audit" or "audit": there are no tables'):
        opened().check()
    database.execute("CREATE TABLE customers (id int)")
    with pytest.raises(SourceError, match=r"There are: customers\. Name one with --audit-table"):
        opened().check()
    database.execute("CREATE SCHEMA crm; CREATE TABLE crm.audits (id int)")
    database.execute("CREATE TABLE audit_log (id int)")
    with pytest.raises(SourceError, match=r"Similar are: crm\.audits, audit_log\. Name one with"):
        opened().check()
    with pytest.raises(SourceError, match=r'no table "leed"\. .*--lead-table'):
        opened("leed", kind=Kind.LEAD).check()
    with pytest.raises(UsageError, match="is no table name"):
        opened("a.b.c").check()


def test_a_missing_column_names_those_there_are_and_the_way_to_map_one(database, opened):
    database.execute("CREATE TABLE audit (id int, thread int)")
    with pytest.raises(
        SourceError,
        match=r"public\.audit has no column for lead_id; its columns are id, thread\. .*--map",
    ):
        opened().check()
    with pytest.raises(SourceError, match=r"no column 'threat' for lead_id; .*--map"):
        opened(columns={"lead_id": "threat"}).check()
    columns = dict.fromkeys(["id", "lead_id", "actor", "action", "payload", "created_at"], "")
    with pytest.raises(SourceError, match=r"read in the order of its ids: --map audit.id="):
        opened(columns=columns).check()


def test_a_table_one_may_not_read_says_what_to_grant(database, opened, empty_database_url):
    create(database)
    database.execute("CREATE ROLE nosy LOGIN PASSWORD 'sesame street'")
    try:
        url = with_options(empty_database_url, user="nosy", password="sesame street")  # noqa: S106 - no secret: the test looks for it
        with pytest.raises(SourceError, match=r"permission denied .*: GRANT SELECT ON Audit"):
            opened(url=url).check()
    finally:
        database.execute("DROP ROLE nosy")


def test_a_server_that_is_not_there_is_unreachable(opened):
    source = opened(url="postgresql://ann:hunter22@127.0.0.1:1/crm?connect_timeout=3")
    for call in (source.check, source.estimated_bytes, lambda: next(source.read())):
        with pytest.raises(DatabaseUnreachable, match=r"ann@127\.0\.0\.1:1/crm does not answer"):
            call()


def test_a_database_that_is_not_there_is_no_reason_to_wait(opened, empty_database_url):
    url = with_options(empty_database_url, dbname="nowhere")
    with pytest.raises(SourceError, match=r'"nowhere" does not exist - correct the name'):
        opened(url=url).check()


def test_a_connection_that_is_lost_is_unreachable(database, opened, monkeypatch):
    monkeypatch.setattr(table, "PAGE_ROWS", 2)
    create(database)
    database.execute("INSERT INTO audit SELECT i::text FROM generate_series(1, 9) AS i")
    rows = opened().read()
    next(rows)
    database.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
        "AND datname = current_database() AND application_name = 'backstory'"
    )
    with pytest.raises(DatabaseUnreachable, match=r"stopped answering .* run the same command"):
        list(rows)


def test_a_table_that_is_dropped_while_it_is_read_is_said_in_words(database, opened, monkeypatch):
    monkeypatch.setattr(table, "PAGE_ROWS", 2)
    create(database)
    database.execute("INSERT INTO audit SELECT i::text FROM generate_series(1, 9) AS i")
    rows = opened().read()
    next(rows)
    database.execute("DROP TABLE audit")
    with pytest.raises(SourceError, match="changed while it was read"):
        list(rows)


def test_a_page_that_takes_too_long_asks_for_an_index(database, opened, monkeypatch):
    monkeypatch.setattr(connect, "STATEMENT_TIMEOUT_MINUTES", 1 / 60)
    create(database, "log")
    database.execute("INSERT INTO log VALUES ('1')")
    database.execute(
        "CREATE VIEW audit AS SELECT id, lead_id, actor, pg_sleep(5)::text AS action, payload, "
        "created_at FROM log"
    )
    with pytest.raises(SourceError, match="create an index on the column of its ids"):
        list(opened().read())


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:s3cr/t-pw@127.0.0.1:1/crm",
        "postgresql://ann:s3cr@t-pw@127.0.0.1:1/crm",
        "postgresql://ann:s3cr?t-pw@127.0.0.1:1/crm",
        "postgresql://ann:s3cr#t-pw@127.0.0.1:1/crm",
        "postgresql://ann:s3cr-t-pw/@127.0.0.1:1/crm",
        "postgresql://ann:s3cr-t-pw/crm",
        "postgresql://ann:s3cr-t-pw?@127.0.0.1:1/crm",
        "postgresql://ann:s3cr%t-pw@127.0.0.1:1/crm",
        "postgresql://ann:s3cr%40t-pw@127.0.0.1:1/crm",
        "postgresql://ann:s3cr:t-pw@127.0.0.1:1/crm",
        "postgresql+psycopg://127.0.0.1:1/crm?user=ann&password=s3cr-t-pw",
        "postgresql://ann:s3cr-t-pw@127.0.0.1:port/crm",
        "postgresql://[ann:s3cr-t-pw@127.0.0.1/crm",
    ],
)
def test_a_password_is_in_no_message(opened, url):
    with pytest.raises((UsageError, SourceError, DatabaseUnreachable)) as told:
        opened(url=url).check()
    shown = str(told.value) + str(told.value.__cause__)
    assert "s3cr" not in shown
    assert "t-pw" not in shown
    assert "\n" not in str(told.value)


def test_a_password_is_in_no_name_of_the_source(opened):
    source = opened(url="postgresql://ann:hunter22@host:5433/crm?sslmode=require")
    assert source.fingerprint() == "postgresql://ann@host:5433/crm Audit"
    assert "hunter22" not in repr(source) + source.label + source.where(1)


@pytest.mark.parametrize(
    "url", ["", "mysql://host/crm", "https://host/audit.jsonl", "s3://b/k.jsonl"]
)
def test_another_kind_of_address_is_a_usage_error(opened, url):
    with pytest.raises(UsageError, match=r"name a file, `-` or postgresql://"):
        opened(url=url)


def test_the_source_travels_to_another_process(database, opened):
    create(database)
    database.execute("INSERT INTO audit VALUES ('1')")
    source = opened()
    again = pickle.loads(pickle.dumps(source))  # noqa: S301 - bytes we have just made
    assert list(again.read(again.segments(8)[0])) == list(source.read())
    assert source.columns == {}


@pytest.mark.parametrize(
    "url", ["postgresql://ann:4711/0@host/crm", "postgresql://ann:4711?0@host/crm"]
)
def test_a_password_of_digits_is_not_taken_for_a_port(opened, url):
    with pytest.raises(UsageError, match="written with a percent sign") as told:
        opened(url=url)
    assert "4711" not in str(told.value)


def test_a_plus_in_a_password_is_a_plus():
    parts, schema = connect._parsed("postgresql://h/d?user=a&password=x+y%20z&schema=my%20crm")
    assert (parts["password"], schema) == ("x+y z", "my crm")

"""Nobody reads another customer: whatever an agent is talked into, and whatever a query forgets."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, ProgrammingError
from tools_world import NOON, agent, event, everything, refused, rows, told

from backstory.errors import DatabaseError, RecordRefused, Transient, UsageError
from backstory.live.record import record_event
from backstory.store import agent_role
from backstory.store.binding import bound
from backstory.store.engine import Database, open_engine
from backstory.store.pipeline import pipelined
from backstory.store.schema import upgrade
from backstory.store.tables import Base
from backstory.tools.catalog import TOOLS
from backstory.tools.session import open_session

WINDOW = {"scheduled_start": "2026-06-05T09:00:00Z"}


def furnish(session):
    """Let a session write one of everything, and return the ids."""
    place = told(session, "add_address", line1="12 Oak St", label="home")["address"]
    job = told(session, "create_job", title="Sofa", address_id=place["address_id"])["job"]
    item = told(session, "add_job_item", job_id=job["job_id"], kind="item", name="Sofa")["item"]
    found = told(session, "memory_fetch_candidates", query="sofa at 12 Oak St", k=10)
    return {
        "address_id": place["address_id"],
        "job_id": job["job_id"],
        "item_id": item["item_id"],
        "candidate_ids": [each["candidate_id"] for each in found["candidates"]],
    }


def foreign_calls(of):
    """Every tool that takes an id, with the ids of somebody else."""
    return [
        ("create_job", {"title": "Mine now", "address_id": of["address_id"]}),
        ("create_job", {"title": "Mine now", "address_id": of["job_id"]}),
        ("add_job_item", {"job_id": of["job_id"], "kind": "item", "name": "x"}),
        ("add_job_item", {"job_id": of["item_id"], "kind": "item", "name": "x"}),
        ("record_job_event", {"job_id": of["job_id"], "event_type": "canceled"}),
        ("record_job_event", {"job_id": of["job_id"], "event_type": "scheduled", **WINDOW}),
        ("memory_confirm_context", {"candidate_ids": of["candidate_ids"]}),
        ("memory_confirm_context", {"candidate_ids": of["candidate_ids"][:1]}),
    ]


def test_every_tool_that_takes_an_id_is_walked():
    taking = {
        tool.name
        for tool in TOOLS
        if any(name.endswith(("_id", "_ids")) for name in tool.takes.model_fields)
    }
    some = {"address_id": "", "job_id": "", "item_id": "", "candidate_ids": []}
    assert {name for name, _ in foreign_calls(some)} == taking


def test_no_tool_takes_the_id_of_a_person_or_a_place_of_work():
    words = ("customer", "lead", "tenant", "session", "conversation", "schema", "business")
    for tool in TOOLS:
        for name in tool.takes.model_fields:
            assert not any(word in name for word in words), (tool.name, name)


def test_a_foreign_id_reads_as_one_that_never_was(database, ana, bob):
    """The same words but for the id itself, nothing changed, and it is written down."""
    theirs = furnish(ana)
    never = {
        "address_id": str(uuid.uuid4()),
        "job_id": str(uuid.uuid4()),
        "item_id": str(uuid.uuid4()),
        "candidate_ids": [f"job-{uuid.uuid4().hex[:16]}" for _ in theirs["candidate_ids"]],
    }
    before = everything(database)
    for (tool, foreign), (_, unknown) in zip(
        foreign_calls(theirs), foreign_calls(never), strict=True
    ):
        one, other = refused(bob, tool, **foreign), refused(bob, tool, **unknown)
        assert one["outcome"] == other["outcome"] == "not_found", tool
        assert _without(one, foreign) == _without(other, unknown), tool
    assert everything(database) == before
    tried = rows(
        database,
        "SELECT payload FROM audit_log WHERE log = 'backstory' AND action = 'tool_refused'",
    )
    assert sum(theirs["job_id"] in str(row.payload) for row in tried) >= 3
    assert sum(theirs["address_id"] in str(row.payload) for row in tried) >= 1


def _without(said, arguments):
    words = str(said)
    for value in arguments.values():
        for each in value if isinstance(value, list) else [value]:
            words = words.replace(str(each), "…")
    return words


def test_ids_of_a_merged_customer_go_on_for_the_one_person_and_stay_closed_to_others(
    database, clock, bob
):
    """A merge moves what is there: the absorbed customer's own id is nobody's any more."""
    record_event(
        database, event(50, "cat-1", "hi", lead={"channel": "messenger", "messenger_psid": "c"})
    )
    record_event(
        database, event(51, "cat-2", "hi", lead={"channel": "sms", "phone": "+12025550144"})
    )
    first, second = agent(database, "cat-1", clock=clock), agent(database, "cat-2", clock=clock)
    hers = furnish(second)
    assert refused(first, "add_job_item", job_id=hers["job_id"], kind="item", name="x")
    record_event(
        database,
        event(
            52,
            "cat-1",
            "hi",
            lead={"channel": "messenger", "messenger_psid": "c", "phone": "+12025550144"},
        ),
    )
    for session in (first, second):
        told(session, "add_job_item", job_id=hers["job_id"], kind="item", name="x")
    said = refused(bob, "add_job_item", job_id=hers["job_id"], kind="item", name="x")
    assert said["outcome"] == "not_found"


def test_what_was_rolled_back_is_not_found(database, ana):
    """A session whose lead is gone ends, whatever it asks for."""
    ended = type(ana)(database, uuid.uuid4(), "agent", ana.rules)
    said = refused(ended, "create_job", title="Garage")
    assert said["outcome"] == "session_ended"


# --- the policies, apart from our own queries ---------------------------------------------------


def as_agent(database, lead):
    """Yield a connection bound as a tool's is, for queries that forget everything."""
    connection = database.engine.connect()
    connection.begin()
    found = connection.execute(
        text("SELECT id FROM leads WHERE external_id = :lead"), {"lead": lead}
    ).scalar_one()
    context = bound(
        connection,
        database.schema,
        lead_id=found,
        actor="agent",
        now=NOON,
        region="US",
    )
    context.__enter__()
    return connection


# What no tool writes, of each conversation's first message.
DERIVED = """
INSERT INTO embedding_models (name, dimensions, run_id)
    VALUES ('m', 1, gen_random_uuid());
INSERT INTO embeddings (message_id, model, conversation_id, customer_id, content_hash, vector)
    SELECT id, 'm', conversation_id, customer_id, '', '[1]' FROM messages;
INSERT INTO conversation_summaries (conversation_id, customer_id, made_by, messages, left_out,
                                    first_message_id, last_message_id, last_at)
    SELECT DISTINCT ON (conversation_id) conversation_id, customer_id, 'm', 1, 0, id, id,
           created_at FROM messages;
INSERT INTO memory_notes (id, customer_id, kind, text, extracted_by)
    SELECT gen_random_uuid(), id, 'fact', 'a note', 'test' FROM customers
"""


@pytest.fixture
def as_bob(database, ana):
    furnish(ana)
    with database.engine.begin() as connection:
        for statement in DERIVED.split(";"):
            connection.execute(text(statement))
    connection = as_agent(database, "bob-1")
    yield connection
    connection.rollback()
    connection.close()


OWNED = sorted(t.name for t in Base.metadata.sorted_tables if "customer_id" in t.c)


@pytest.mark.parametrize("table", OWNED)
def test_a_query_without_a_where_shows_one_customer_s_rows(database, as_bob, table):
    if table not in agent_role.RIGHTS:
        with pytest.raises(ProgrammingError, match="permission denied"):
            as_bob.execute(text(f"SELECT * FROM {table}"))
        return
    seen = as_bob.execute(text(f"SELECT DISTINCT customer_id FROM {table}")).scalars().all()
    mine = rows(database, "SELECT customer_id FROM leads WHERE external_id = 'bob-1'")[0][0]
    assert set(seen) <= {mine}
    others = rows(database, f"SELECT 1 FROM {table} WHERE customer_id <> :mine", mine=mine)
    assert others, "there was nothing to hide"


def test_only_one_row_of_customers_is_there(as_bob):
    assert as_bob.execute(text("SELECT count(*) FROM customers")).scalar_one() == 1


def test_every_table_is_under_row_level_security_and_closed_unless_listed(database):
    tables = rows(
        database,
        "SELECT c.relname, c.relrowsecurity,"
        " has_any_column_privilege(:role, c.oid, 'SELECT')"
        "   OR has_table_privilege(:role, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE') AS open"
        " FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace"
        " AND c.relkind IN ('r', 'p') AND c.relname <> 'alembic_version'",
        role=agent_role.role_name("backstory"),
    )
    assert {row.relname for row in tables} == set(Base.metadata.tables)
    for row in tables:
        assert row.relrowsecurity, row.relname
        assert row.open == (row.relname in agent_role.RIGHTS), row.relname


def test_the_role_owns_nothing_and_cannot_log_in(database):
    role = agent_role.role_name("backstory")
    (row,) = rows(
        database,
        "SELECT rolsuper, rolbypassrls, rolcanlogin, rolcreaterole, rolcreatedb,"
        " (SELECT count(*) FROM pg_class WHERE relowner = r.oid) AS owned"
        " FROM pg_roles r WHERE rolname = :role",
        role=role,
    )
    assert tuple(row) == (False, False, False, False, False, 0)


def test_nothing_is_written_for_another_customer(database, as_bob):
    hers = rows(database, "SELECT customer_id FROM leads WHERE external_id = 'ana-1'")[0][0]
    with pytest.raises(DBAPIError, match="row-level security"):
        as_bob.execute(
            text(
                "INSERT INTO customer_addresses (id, customer_id, line1, normalized_key)"
                " VALUES (gen_random_uuid(), :hers, 'x', 'x')"
            ),
            {"hers": hers},
        )


def test_a_verified_identity_cannot_be_written(database, as_bob):
    mine = rows(database, "SELECT customer_id FROM leads WHERE external_id = 'bob-1'")[0][0]
    with pytest.raises(DBAPIError, match="row-level security"):
        as_bob.execute(
            text(
                "INSERT INTO customer_identities (id, customer_id, kind, value, provenance)"
                " VALUES (gen_random_uuid(), :mine, 'phone', '+12025550101', 'verified')"
            ),
            {"mine": mine},
        )


def test_updates_and_claims_never_touch_another_s_rows(as_bob):
    changed = as_bob.execute(text("UPDATE jobs SET status = 'canceled', canceled_by = 'customer'"))
    assert changed.rowcount == 0
    with pytest.raises(ProgrammingError, match="permission denied"):
        as_bob.execute(text("UPDATE customers SET merged_into_id = NULL"))


def test_no_unique_constraint_tells_what_another_customer_has(ana, bob):
    """Whatever Ana has, Bob may have too: an insert that failed would tell that it is there."""
    details = {"line1": "12 Oak St", "city": "Austin", "is_primary": True, "label": "home"}
    profile = {"name": "Same Name", "phone": "+12025550133", "email": "same@example.com"}
    for session in (ana, bob):
        assert told(session, "add_address", **details)["outcome"] == "created"
        assert told(session, "upsert_customer_profile", **profile)["outcome"] == "updated"
        assert told(session, "create_job", title="Sofa", key="the-same-key")["outcome"] == "created"
        answer = told(session, "memory_fetch_candidates", query="sofa")
        ids = [each["candidate_id"] for each in answer["candidates"]]
        if ids:
            told(session, "memory_confirm_context", candidate_ids=ids)


# What plain SQL under the role of agents may try: a row of one's own that hangs on `other`.
HANGING = {
    "a job of a lead": """
        INSERT INTO jobs (id, customer_id, title, lead_id)
        SELECT gen_random_uuid(), c.id, 'x', (SELECT id FROM other WHERE kind = 'lead')
        FROM customers c""",
    "a job of a conversation": """
        INSERT INTO jobs (id, customer_id, title, conversation_id)
        SELECT gen_random_uuid(), c.id, 'x', (SELECT id FROM other WHERE kind = 'conversation')
        FROM customers c""",
    "a job at an address": """
        INSERT INTO jobs (id, customer_id, title, service_address_id)
        SELECT gen_random_uuid(), c.id, 'x', (SELECT id FROM other WHERE kind = 'address')
        FROM customers c""",
    "a line of a job": """
        INSERT INTO job_items (id, job_id, customer_id, position, kind, name, quantity, unit)
        SELECT gen_random_uuid(), (SELECT id FROM other WHERE kind = 'job'), c.id, 1, 'item', 'x',
               1, 'each'
        FROM customers c""",
    "an event of a job": """
        INSERT INTO job_events (id, job_id, customer_id, event_type, occurred_at, actor,
                                idempotency_key)
        SELECT gen_random_uuid(), (SELECT id FROM other WHERE kind = 'job'), c.id, 'note_added',
               now(), 'agent', 'the-same-key'
        FROM customers c""",
    "a confirmation in a conversation": """
        INSERT INTO confirmations (id, customer_id, conversation_id, candidate_id, source_kind,
                                   source_id, content_hash, fetched_at)
        SELECT gen_random_uuid(), c.id, (SELECT id FROM other WHERE kind = 'conversation'),
               'a-candidate', 'job', gen_random_uuid(), '', now()
        FROM customers c""",
}


@pytest.mark.parametrize("attempt", HANGING)
def test_no_key_tells_whether_what_another_has_is_there(database, ana, bob, attempt):
    """Neither a foreign key nor a unique one is asked before the policies are."""
    hers, his = furnish(ana), furnish(bob)
    with database.engine.begin() as owner:
        for who in (hers, his):
            owner.execute(
                text(
                    "UPDATE job_events SET idempotency_key = 'the-same-key' WHERE job_id = :job_id"
                    " AND event_type = 'created'"
                ),
                who,
            )
            owner.execute(
                text(
                    "UPDATE confirmations SET candidate_id = 'a-candidate' WHERE candidate_id = :it"
                ),
                {"it": who["candidate_ids"][0]},
            )
    said = {
        whose: _refused_row(database, HANGING[attempt], ids)
        for whose, ids in {"her": hers, "nobody": {}, "his": his}.items()
    }
    assert said["her"] == said["nobody"]
    assert "row-level security" in said["her"]
    # His own are taken, or meet his own row.
    assert "row-level security" not in said["his"]


def _refused_row(database, statement, ids):
    """Execute it as Bob with the ids of what `ids` has; return what the database says."""
    never = str(uuid.uuid4())
    lead, conversation = (
        rows(
            database,
            "SELECT j.lead_id, j.conversation_id FROM jobs j WHERE j.id = :id",
            id=ids.get("job_id", never),
        )[0]
        if ids
        else (never, never)
    )
    other = (
        f"WITH other (kind, id) AS (VALUES ('lead', uuid '{lead}'),"
        f" ('conversation', uuid '{conversation}'),"
        f" ('address', uuid '{ids.get('address_id', never)}'),"
        f" ('job', uuid '{ids.get('job_id', never)}'))"
    )
    connection = as_agent(database, "bob-1")
    try:
        connection.execute(text(other + statement))
    except DBAPIError as refusal:
        return str(refusal.orig)
    finally:
        connection.rollback()
        connection.close()
    return "taken"


def test_a_job_is_written_under_no_number_of_one_s_own_choice(as_bob):
    """The number is unique in the business: a refusal would tell that there is such a job."""
    with pytest.raises(ProgrammingError, match="permission denied"):
        as_bob.execute(
            text(
                "INSERT INTO jobs (id, customer_id, title, job_number)"
                " SELECT gen_random_uuid(), id, 'x', 1 FROM customers"
            )
        )


def test_a_role_that_owns_something_serves_nobody(database):
    """What it owns it could free of its policies."""
    with database.engine.begin() as connection:
        connection.execute(text("GRANT CREATE ON SCHEMA backstory TO backstory_agent"))
        connection.execute(text("ALTER TABLE messages OWNER TO backstory_agent"))
    with pytest.raises(DatabaseError, match="backstory_agent owns tables"):
        open_session(database, "ana-1")


def test_a_right_that_the_role_should_not_have_is_told_and_taken_away(database):
    with database.engine.begin() as connection:
        connection.execute(text("GRANT DELETE ON messages TO backstory_agent"))
    with pytest.raises(DatabaseError, match="backstory_agent has DELETE on messages"):
        open_session(database, "ana-1")
    with database.engine.begin() as connection:
        assert agent_role.ensure(connection, "backstory") == []
    told(open_session(database, "ana-1"), "create_job", title="Healed")


# --- pooled connections --------------------------------------------------------------------------


@pytest.fixture
def one(database_url):
    """The same database through a pool of one connection."""
    one = Database.open(database_url, "backstory", pool_size=1)
    yield one
    one.engine.dispose()


def fail(_mine):
    raise RuntimeError("on purpose")


def ask_what_cannot_be(mine):
    mine.rows("job_by_id", {"id": "no id"})


def leave_for_the_end_what_cannot_be(mine):
    mine.later("job_by_id", {"id": "no id"})


def go_on_after_an_error(mine):
    with suppress(RecordRefused):
        ask_what_cannot_be(mine)


def lose_the_plans(mine):
    for _ in range(2):
        mine.rows("job_by_id", {"id": uuid.uuid4()})
        mine.connection.execute(text("DEALLOCATE ALL"))


def commit_what_is_left(mine):
    pipelined(mine.connection, mine.last_steps(), commit=True)


def commit_without_unbinding(mine):
    pipelined(mine.connection, [("job_by_id", {"id": None, "customer_id": None})], commit=True)


@pytest.mark.parametrize(
    ("leave", "error"),
    [
        (lambda _: None, None),
        (commit_what_is_left, None),
        (commit_without_unbinding, None),
        (fail, RuntimeError),
        (ask_what_cannot_be, RecordRefused),
        (leave_for_the_end_what_cannot_be, RecordRefused),
        (go_on_after_an_error, DatabaseError),
        (lose_the_plans, Transient),
    ],
)
def test_a_connection_given_back_is_bound_to_nobody(one, ana, leave, error):
    who = text(
        "SELECT pg_backend_pid(), current_user, current_setting('backstory.customer_id', true)"
    )
    asked = {"lead_id": ana.lead_id, "actor": "agent", "now": NOON, "region": "US"}
    role = agent_role.role_name(one.schema)
    with (
        pytest.raises(error) if error else nullcontext(),
        one.engine.begin() as connection,
        bound(connection, one.schema, **asked) as mine,
    ):
        backend, user, customer = connection.execute(who).one()
        assert (user, customer) == (role, str(mine.customer_id))
        leave(mine)
    with one.engine.begin() as connection:
        again, user, customer = connection.execute(who).one()
        assert again == backend
        assert user != role
        assert not customer


def test_two_customers_on_one_pool_never_see_each_other_under_sixteen_threads(database, clock):
    """Each thread swaps between the two leads; every answer names its own customer only."""
    sessions = {lead: agent(database, lead, clock=clock) for lead in ("ana-1", "bob-1")}
    for lead, session in sessions.items():
        told(session, "upsert_customer_profile", name=f"Only {lead}")
        told(session, "add_address", line1=f"1 {lead} Road")
    clock.move(hours=1)

    def hammer(number):
        for turn in range(12):
            lead = "ana-1" if (number + turn) % 2 else "bob-1"
            other = "bob-1" if lead == "ana-1" else "ana-1"
            profile = told(sessions[lead], "upsert_customer_profile", language="en")
            assert profile["profile"]["name"] == f"Only {lead}"
            found = str(told(sessions[lead], "memory_fetch_candidates", query="road", k=10))
            assert f"1 {lead} Road" in found
            assert f"1 {other} Road" not in found

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(hammer, range(16)))


# --- who may be served ---------------------------------------------------------------------------


def test_a_lead_nobody_knows_gets_no_session(database):
    with pytest.raises(UsageError, match="no lead 'nobody'"):
        open_session(database, "nobody")


def test_without_the_role_of_agents_nobody_is_served_and_the_remedy_is_named(database):
    with database.engine.begin() as connection:
        connection.execute(text("REVOKE SELECT ON messages FROM backstory_agent"))
    with pytest.raises(DatabaseError, match=r"lacks SELECT on messages.*db upgrade"):
        open_session(database, "ana-1")
    with database.engine.begin() as connection:
        assert agent_role.ensure(connection, "backstory") == []
    told(open_session(database, "ana-1"), "create_job", title="Healed")


def test_a_user_that_may_not_make_roles_loads_a_log_and_learns_what_is_missing(
    empty_database_url,
):
    """The main job needs no role; sessions do, and say what an administrator must run."""
    name = f"plain_{uuid.uuid4().hex[:8]}"
    database = make_url(empty_database_url).database
    with psycopg.connect(empty_database_url, autocommit=True) as admin:
        admin.execute("CREATE EXTENSION vector SCHEMA public")
        admin.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'x'")
        admin.execute(f'GRANT CREATE ON DATABASE "{database}" TO {name}')
    url = make_url(empty_database_url).set(username=name, password="x")  # noqa: S106 - its own
    schema = f"s_{uuid.uuid4().hex[:8]}"
    engine = open_engine(url.render_as_string(hide_password=False), schema)
    try:
        assert upgrade(engine, schema).current
        plain = Database(str(url), schema, engine)
        with pytest.raises(DatabaseError, match="CREATE ROLE"):
            open_session(plain, "anybody")
    finally:
        engine.dispose()
        with psycopg.connect(empty_database_url, autocommit=True) as admin:
            admin.execute(f"DROP OWNED BY {name} CASCADE")
            admin.execute(f"DROP ROLE {name}")

"""The staff's tools look across customers, only read, and leave a record of who looked at whom."""

import json
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from tools_world import event, everything, refused, rows, told

from backstory.errors import DatabaseError
from backstory.live.record import record_events
from backstory.tools.catalog import STAFF_TOOLS, TOOLS
from backstory.tools.schemas import Format
from backstory.tools.session import Rules
from backstory.tools.staff import Staff
from backstory.tools.tool import Input, Output, Tool


@pytest.fixture
def staff(database, clock):
    return Staff(database, "back office", Rules(clock=clock))


def customer_of(database, lead):
    (row,) = rows(database, "SELECT customer_id FROM leads WHERE external_id = :lead", lead=lead)
    return str(row.customer_id)


def test_from_a_word_to_the_customer_and_to_the_record(staff, database, ana):
    job = told(ana, "create_job", title="Sofa pickup", price_cents=9900)["job"]
    told(ana, "add_address", line1="12 Oak St", city="Austin", access_notes="Gate 4")
    hits = told(staff, "search_messages", query="sofa", lead="ana-2")["messages"]
    assert [hit["lead"] for hit in hits] == ["ana-2"]
    assert {hit["lead"] for hit in told(staff, "search_messages", query="sofa")["messages"]} == {
        *("ana-1", "ana-2", "bob-1")
    }
    read = told(staff, "get_conversation", conversation=hits[0]["conversation_id"])
    assert [each["text"] for each in read["messages"]] == ["Hello, this is about the sofa at ana-2"]
    assert read == told(staff, "get_conversation", conversation="ana-2")
    traced = told(staff, "trace_message", message=hits[0]["message_id"])
    assert json.loads(traced["record"]["payload"]) == {"text": read["messages"][0]["text"]}
    assert traced == told(staff, "trace_message", message="e-1", log="audit")
    got = told(staff, "get_customer", customer_id=hits[0]["customer_id"])
    assert got["customer_id"] == customer_of(database, "ana-1")
    assert got["profile"]["name"] == "Ana"
    assert [each["lead"] for each in got["leads"]] == ["ana-1", "ana-2"]
    assert [(each["job_id"], each["items"]) for each in got["jobs"]] == [
        (job["job_id"], "1 x Sofa pickup")
    ]
    assert [each["access_notes"] for each in got["addresses"]] == ["Gate 4"]
    assert {each["provenance"] for each in got["identities"]} == {"verified"}


def test_customers_are_found_by_whatever_they_are_known_by(staff, database):
    bob = customer_of(database, "bob-1")
    for query in ("bob", "BOB@example", "202-555-0177", "bob-1", bob[:13]):
        found = told(staff, "find_customers", query=query)
        assert [each["customer_id"] for each in found["customers"]] == [bob], query
    assert told(staff, "find_customers", query="nobody")["outcome"] == "nothing_found"


def test_pages_show_everything_once(staff):
    first = told(staff, "find_customers", limit=1)
    second = told(staff, "find_customers", limit=1, after=first["next"])
    assert second["next"] is None
    assert len({each["customers"][0]["customer_id"] for each in (first, second)}) == 2
    page = told(staff, "search_messages", query="sofa", limit=2)
    rest = told(staff, "search_messages", query="sofa", limit=2, after=page["next"])
    ids = [each["message_id"] for each in (*page["messages"], *rest["messages"])]
    assert len(set(ids)) == len(ids) == 3


def test_a_conversation_is_read_page_by_page(staff, database):
    record_events(database, [event(10 + n, "bob-1", f"line {n}") for n in range(3)])
    first = told(staff, "get_conversation", conversation="bob-1", limit=3)
    rest = told(staff, "get_conversation", conversation="bob-1", limit=3, after=first["next"])
    assert first["messages_in_all"] == 4
    assert [each["text"] for each in rest["messages"]] == ["line 2"]
    assert rest["next"] is None
    after = told(staff, "get_conversation", conversation="ana-1")["messages"][0]["message_id"]
    said = refused(staff, "get_conversation", conversation="bob-1", after=after)
    assert said["outcome"] == "invalid_arguments"


def test_what_people_wrote_hides_nothing_and_is_cut(staff, database):
    hostile = "\x1b[2J\u202esalt\u202c \u200bofa" + "x" * 3_000
    record_events(database, [event(20, "bob-1", hostile, action="message\x1b[31m_received")])
    read = told(staff, "get_conversation", conversation="bob-1")["messages"][-1]
    assert read["text"].startswith("salt ofaxxx")
    assert len(read["text"]) == 2_000
    assert read["cut"]
    traced = told(staff, "trace_message", message="e-20")
    assert len(json.loads(traced["record"]["payload"])["text"]) > 3_000
    assert traced["record"]["action"] == "message_received"
    assert not traced["record"]["payload_cut"]


# --- what is refused -------------------------------------------------------------------------


def test_what_is_not_there_is_said_to_be_not_there(staff):
    nobody = str(uuid4())
    for tool, arguments in (
        ("get_customer", {"customer_id": nobody}),
        ("get_conversation", {"conversation": nobody}),
        ("get_conversation", {"conversation": "lead-0"}),
        ("trace_message", {"message": nobody}),
        ("trace_message", {"message": "e-1", "log": "another"}),
    ):
        assert refused(staff, tool, **arguments)["outcome"] == "not_found", tool
    after = told(staff, "find_customers", after=nobody)
    assert after["outcome"] == "nothing_found"


def test_who_was_merged_away_is_told_with_whom(staff, database):
    with database.engine.begin() as connection:
        kept, gone = customer_of(database, "ana-1"), uuid4()
        connection.execute(
            text(
                "INSERT INTO customers (id, merged_into_id, created_at) VALUES (:id, :into, now())"
            ),
            {"id": gone, "into": UUID(kept)},
        )
    said = refused(staff, "get_customer", customer_id=str(gone))
    assert said["outcome"] == "not_found"
    assert kept in said["next_step"]


def test_wrong_arguments_are_refused_by_field_rule_and_example(staff):
    for tool, arguments, named in (
        ("search_messages", {}, "query"),
        ("search_messages", {"query": "-"}, "word"),
        ("search_messages", {"query": "sofa", "after": "nonsense"}, "`after`"),
        ("search_messages", {"query": "sofa", "limit": True}, "limit"),
        ("search_messages", {"query": "sofa\0"}, "NUL"),
        ("search_messages", {"query": "sofa", "role": "boss"}, "one of: user"),
        ("get_customer", {"customer": "x"}, "customer_id"),
        ("get_conversation", {"conversation": "x" * 501}, "500"),
    ):
        said = refused(staff, tool, **arguments)
        assert said["outcome"] == "invalid_arguments", said
        assert named in str(said), said


def test_no_agent_has_a_tool_of_the_staff_and_the_staff_has_none_of_an_agent(staff, ana):
    unknown = refused(ana, "no_such_tool")
    for tool in STAFF_TOOLS:
        assert refused(ana, tool.name, query="sofa") == unknown
    assert not any(tool.name in json.dumps(unknown) for tool in STAFF_TOOLS)
    for tool in TOOLS:
        assert refused(staff, tool.name)["outcome"] == "unknown_tool"
    assert not {tool.name for tool in TOOLS} & {tool.name for tool in STAFF_TOOLS}


def test_a_key_of_idempotency_is_taken_and_changes_nothing(staff):
    found = told(staff, "find_customers", query="bob", key="k-1")
    assert told(staff, "find_customers", query="bob", key="k-1") == found
    assert told(staff, "find_customers", query="ana", key="k-1") != found


# --- only to read ----------------------------------------------------------------------------


class Nothing(Input):
    """Takes nothing."""


def overwrite(connection, _asked):
    """Write, as no tool of the staff may."""
    connection.execute(text("UPDATE customers SET display_name = 'gone'"))
    return Output(outcome="done")


class Careless(Staff):
    """One of the staff with a tool that writes."""

    @property
    def offered(self):
        return (Tool(overwrite, Nothing, Output, title="Write", idempotent=True),)


def test_a_tool_that_writes_fails(database):
    before = everything(database)
    with pytest.raises(DatabaseError, match="read-only"):
        Careless(database).call("overwrite", {})
    assert everything(database) == before


def test_looking_changes_nothing_but_the_records_of_calls(staff, database):
    before = everything(database)
    told(staff, "search_messages", query="sofa")
    told(staff, "get_customer", customer_id=customer_of(database, "ana-1"))
    assert everything(database) == before


def test_who_looked_at_whom_is_written_down_and_no_word_of_it(staff, database):
    bob = customer_of(database, "bob-1")
    told(staff, "find_customers", query="Bobby")
    told(staff, "find_customers", query="Ana")
    told(staff, "get_conversation", conversation="bob-1")
    refused(staff, "get_customer", customer_id=str(uuid4()))
    refused(staff, "delete_customer", name="Bob")
    kept = rows(
        database,
        "SELECT t.tool, t.actor, t.outcome, t.lead_id, t.customer_id, t.answer, a.action,"
        " a.payload, t.arguments_hash FROM tool_calls t JOIN audit_log a"
        " ON a.audit_id = CAST(t.id AS text) AND a.log = 'backstory'"
        " WHERE t.actor = 'back office' ORDER BY t.tool, t.outcome",
    )
    assert [(row.tool, row.outcome, row.action) for row in kept] == [
        ("find_customers", "found", "tool_called"),
        ("find_customers", "nothing_found", "tool_called"),
        ("get_conversation", "found", "tool_called"),
        ("get_customer", "not_found", "tool_refused"),
        ("unknown", "unknown_tool", "tool_refused"),
    ]
    assert {(row.lead_id, row.customer_id, row.answer) for row in kept} == {(None, None, None)}
    assert kept[2].payload["ids"]["customer_id"] == bob
    assert "Bob" not in str([row.payload for row in kept])
    assert len({bytes(row.arguments_hash) for row in kept}) == 1, "a hash would tell a name tried"


def test_every_format_has_the_staff_s_tools(staff):
    for shape in Format:
        assert len(staff.tools(shape)) == len(STAFF_TOOLS) == 5
    assert all(tool["annotations"]["readOnlyHint"] for tool in staff.tools("mcp"))

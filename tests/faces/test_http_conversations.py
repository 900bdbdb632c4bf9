"""The list of conversations over HTTP: each is shown once, and to whom it may be shown."""

import base64
import json
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from http_world import BEGUN, event, greetings, problem, served

from backstory.erasure import erase

OTHERS = {
    "cleo-1": {"channel": "web", "phone": "+12025550188", "name": "Cleo"},
    "dan-1": {"channel": "web", "phone": "+12025550199"},
}
# Cleo and Dan write at the same moment, so their order is that of their ids.
SAID = [
    *greetings(),
    *(event(20, lead, id=f"e-{lead}", lead=known) for lead, known in OTHERS.items()),
    event(30, "ana-1"),
]


@pytest.fixture(scope="module")
def town(template, copied, tmp_path_factory):
    """Five leads of four customers; Bob and Ana began anew and have said nothing since."""
    for url in copied(template):
        with served(url, tmp_path_factory.mktemp("town")) as business:
            assert set(business.record(*SAID)) == {"created"}
            for lead in ("bob-1", "ana-2"):
                business.ask("POST", f"/v1/conversations/{lead}/close", business.agent)
                business.token(lead)
            yield business


def page(business, by=None, **query):
    answer = business.ask("GET", "/v1/conversations", by or business.staff, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def listed(business, by=None, **query):
    """Return what is listed on one page that is the last."""
    found = page(business, by, **query)
    assert found["next"] is None
    return found["conversations"]


def walked(business, limit, by=None, **query):
    """Return what is listed page by page."""
    rows, after = [], {}
    while True:
        found = page(business, by, limit=limit, **query, **after)
        rows += found["conversations"]
        assert len(found["conversations"]) <= limit
        if found["next"] is None:
            return rows
        after = {"after": found["next"]}


def ids(rows):
    return [row["id"] for row in rows]


def customer_of(business, lead):
    (row,) = business.rows("SELECT customer_id FROM leads WHERE external_id = :lead", lead=lead)
    return str(row.customer_id)


# --- in order, and once ----------------------------------------------------------------------


def test_conversations_are_listed_those_last_heard_of_first_and_the_empty_ones_last(town):
    rows = listed(town)
    leads = [row["lead"] for row in rows]
    assert leads[0] == "ana-1"
    assert set(leads[1:3]) == {"cleo-1", "dan-1"}
    assert leads[3:5] == ["bob-1", "ana-2"]
    assert set(leads[5:]) == {"bob-1", "ana-2"}
    assert [row["messages"] for row in rows] == [2, 1, 1, 1, 1, 0, 0]
    known = town.rows("SELECT id, last_message_at AS at FROM conversations")
    known.sort(key=lambda row: (row.at or datetime.min.replace(tzinfo=BEGUN.tzinfo), row.id))
    assert ids(rows) == [str(row.id) for row in reversed(known)]


@pytest.mark.parametrize("limit", [1, 2, 3, 6, 7, 1_000])
def test_pages_show_every_conversation_once_and_in_the_same_order(town, limit):
    assert walked(town, limit) == listed(town)


def test_pages_of_a_narrowed_list_are_narrowed_too(town):
    narrowed = {"status": "open", "channel": "sms"}
    assert walked(town, 1, **narrowed) == listed(town, **narrowed)
    assert len(listed(town, **narrowed)) == 2


def test_a_row_says_what_the_conversation_itself_says(town):
    for row in listed(town):
        answer = town.ask("GET", f"/v1/conversations/{row['id']}", town.staff)
        header = answer.json()["conversation"]
        assert row == {name: header[name] for name in row}
    fields = {"id", "lead", "customer_id", "customer", "channel", "status", "ordinal"}
    assert fields <= row.keys()


def test_a_conversation_that_goes_on_meanwhile_comes_first_and_hides_no_other(business):
    everything = ids(listed(business))
    first = page(business, limit=1)
    business.record(event(40, "bob-1"))
    rest = page(business, limit=100, after=first["next"])["conversations"]
    (bob,) = ids(listed(business, lead="bob-1"))
    assert ids(first["conversations"]) + ids(rest) == [bob, *everything[1:]]
    assert ids(listed(business)) == [bob, *(each for each in everything if each != bob)]
    # The one behind which the next page begins moves up: nothing is shown again.
    second = page(business, limit=2)
    last = second["conversations"][-1]
    business.record(event(50, last["lead"]))
    rest = page(business, limit=100, after=second["next"])["conversations"]
    assert not set(ids(rest)) & set(ids(second["conversations"]))
    assert len(rest) == len(everything) - 2


# --- filters ---------------------------------------------------------------------------------

AT = (BEGUN + timedelta(minutes=20)).isoformat()


@pytest.mark.parametrize(
    ("query", "holds"),
    [
        ({"lead": "ana-2"}, lambda row: row["lead"] == "ana-2"),
        ({"channel": "web"}, lambda row: row["channel"] == "web"),
        ({"status": "closed"}, lambda row: row["closed_at"] is not None),
        ({"status": "open"}, lambda row: row["closed_at"] is None),
        ({"since": AT}, lambda row: row["lead"] in {"ana-1", "cleo-1", "dan-1"}),
        ({"until": AT}, lambda row: row["status"] == "closed"),
        ({"since": AT, "channel": "messenger"}, lambda row: row["lead"] == "ana-1"),
        (
            {"lead": "ana-2", "status": "open"},
            lambda row: (row["lead"], row["status"]) == ("ana-2", "open"),
        ),
    ],
)
def test_a_filter_leaves_only_what_it_says(town, query, holds):
    everything = listed(town)
    wanted = [row for row in everything if holds(row)]
    assert listed(town, **query) == wanted
    assert 0 < len(wanted) < len(everything)


def test_a_customers_conversations_are_those_of_all_its_leads(town):
    rows = listed(town, customer_id=customer_of(town, "ana-1"))
    assert {row["lead"] for row in rows} == {"ana-1", "ana-2"}
    assert {row["customer"] for row in rows} == {"Ana"}
    assert len(rows) == 3


@pytest.mark.parametrize(
    "query",
    [
        {"lead": "nobody"},
        {"lead": ""},
        {"lead": "\0"},
        {"customer_id": "8a1e6b0c-2f43-4c7d-8f7e-6a9d5b2c4e10"},
        {"channel": "other"},
        {"since": "9999-12-31T23:59:59-12:00"},
        {"until": "0001-01-01T00:00:00+14:00"},
    ],
)
def test_what_is_not_there_has_no_conversations(town, query):
    assert listed(town, **query) == []


def test_who_was_erased_has_no_conversations(business, tmp_path):
    ana = customer_of(business, "ana-1")
    assert len(listed(business, customer_id=ana)) == 2
    erase(business.app.database, UUID(ana), home=tmp_path)
    assert listed(business, customer_id=ana) == []
    assert [row["lead"] for row in listed(business)] == ["bob-1"]


# --- what cannot be --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"limit": 0}, 422),
        ({"limit": 1_001}, 422),
        ({"limit": "many"}, 422),
        ({"status": "ajar"}, 422),
        ({"channel": "smoke"}, 422),
        ({"customer_id": "7"}, 422),
        ({"since": "yesterday"}, 422),
        ({"until": "2026-01-01T00:00:00"}, 422),
        ({"after": "nonsense"}, 409),
        ({"after": "W10"}, 409),
        ({"after": "\u2028"}, 409),
    ],
)
def test_a_list_that_cannot_be_is_refused_in_words(town, query, status):
    problem(town.ask("GET", "/v1/conversations", town.staff, params=query), status)


def test_a_cursor_belongs_to_its_query(town):
    after = page(town, limit=1)["next"]
    for query in ({"status": "open"}, {"lead": "ana-2"}, {"since": AT}):
        answer = town.ask("GET", "/v1/conversations", town.staff, params=query | {"after": after})
        assert "another" in problem(answer, 409)["detail"]
    search = {"query": "sofa", "after": after}
    problem(town.ask("GET", "/v1/search", town.staff, params=search), 409)
    # How many are on a page is no part of the query.
    assert len(page(town, limit=1_000, after=after)["conversations"]) == 6


NOW = "2026-05-01T00:00:00+00:00"
FORGED = [
    [],
    [NOW],
    [NOW, 5],
    [NOW, None],
    [NOW, "x"],
    [5, "0" * 32],
    ["2026-05-01T00:00:00", "0" * 32],
    [NOW, "0" * 32, 1],
    [[NOW], ["0" * 32]],
]


@pytest.mark.parametrize("place", FORGED)
def test_a_cursor_that_somebody_wrote_is_refused(town, place):
    after = page(town, limit=1)["next"]
    digest, *_ = json.loads(base64.urlsafe_b64decode(after + "=" * (-len(after) % 4)))
    forged = base64.urlsafe_b64encode(json.dumps([digest, *place]).encode()).decode()
    for credential in (town.staff, town.token("ana-1")):
        answer = town.ask(
            "GET", "/v1/conversations", credential, params={"after": forged.rstrip("=")}
        )
        assert "damaged" in problem(answer, 409)["detail"]


# --- who may see them ------------------------------------------------------------------------


def test_a_session_lists_the_conversations_of_its_own_customer_page_by_page(town):
    mine = listed(town, customer_id=customer_of(town, "ana-1"))
    for lead in ("ana-1", "ana-2"):
        ana = town.token(lead)
        assert listed(town, ana) == mine
        assert walked(town, 1, ana) == mine
        assert listed(town, ana, lead="ana-1") == [row for row in mine if row["lead"] == "ana-1"]
    dan = town.token("dan-1")
    assert [row["lead"] for row in listed(town, dan)] == ["dan-1"]


def test_a_session_sees_none_of_anothers_and_the_try_is_recorded(business):
    ana = business.token("ana-2")
    bob = customer_of(business, "bob-1")
    foreign = [
        {"lead": "bob-1"},
        {"customer_id": bob},
        {"customer_id": bob, "lead": "bob-1"},
        {"customer_id": customer_of(business, "ana-1"), "lead": "bob-1"},
    ]
    nobodys = [{"lead": "nobody"}, {"customer_id": "8a1e6b0c-2f43-4c7d-8f7e-6a9d5b2c4e10"}]
    for query in (*foreign, *nobodys):
        assert page(business, ana, **query) == {"conversations": [], "next": None}
    found = business.rows(
        "SELECT c.outcome, a.payload -> 'ids' AS ids FROM tool_calls c "
        "JOIN audit_log a ON a.log = 'backstory' AND a.audit_id = CAST(c.id AS text) "
        "WHERE c.tool = 'list_conversations' ORDER BY c.created_at"
    )
    assert {row.outcome for row in found} == {"nothing_found"}
    assert len(found) == len(foreign) + len(nobodys)
    assert found[0].ids == {"lead_id": "bob-1"}
    assert found[1].ids == {"customer_id": bob}


def test_the_staffs_cursor_shows_a_session_nothing_of_others(town):
    after = page(town, limit=1)["next"]
    rows = page(town, town.token("bob-1"), after=after)["conversations"]
    assert {row["lead"] for row in rows} == {"bob-1"}


def test_a_list_of_ones_own_is_not_recorded(business):
    ana = business.token("ana-2")
    for query in ({}, {"lead": "ana-1"}, {"status": "closed"}):
        page(business, ana, **query)
    page(business, lead="nobody")
    assert business.rows("SELECT FROM tool_calls") == []


def test_an_agents_key_lists_nothing(town):
    said = problem(town.ask("GET", "/v1/conversations", town.agent), 403)
    assert "staff" in said["detail"]
    problem(town.ask("GET", "/v1/conversations"), 401)
    problem(town.ask("GET", "/v1/conversations", "bst_x"), 401)

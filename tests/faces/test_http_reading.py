"""Reading over HTTP: the same answers as the command line's, page by page, for the staff."""

import uuid

import pytest
from cli_world import AUDIT, LEADS
from http_world import problem, served

from backstory.backfill import journey
from backstory.backfill.options import BackfillOptions
from backstory.store.engine import Database


@pytest.fixture
def sample(database_url, tmp_path):
    """The sample's log, loaded, over HTTP."""
    database = Database.open(database_url, "backstory")
    journey.start(database, tmp_path, BackfillOptions(audit=(AUDIT,), leads=(LEADS,)))
    database.engine.dispose()
    with served(database_url, tmp_path) as business:
        yield business


def read(business, path, **query):
    answer = business.ask("GET", path, business.staff, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_conversation_is_read_page_by_page(sample):
    (lead,) = sample.rows("SELECT external_id, id FROM leads ORDER BY external_id LIMIT 1")
    whole = read(sample, f"/v1/conversations/{lead.external_id}", limit=1000)
    assert whole["next"] is None
    pages, after = [], None
    while True:
        query = {"limit": 7} | ({"after": after} if after else {})
        page = read(sample, f"/v1/conversations/{lead.external_id}", **query)
        pages += page["messages"]
        after = page["next"]
        if after is None:
            break
    assert pages == whole["messages"]
    header = whole["conversation"]
    assert sum(header["roles"].values()) == header["messages"] == len(pages)
    assert read(sample, f"/v1/conversations/{header['id'][:8]}")["conversation"] == header


def test_messages_are_found_and_paged(sample):
    first = read(sample, "/v1/search", query="quote", limit=10)
    assert first["total_at_least"] == 25
    rest = read(sample, "/v1/search", query="quote", limit=100, after=first["next"])
    ids = [hit["id"] for hit in (*first["hits"], *rest["hits"])]
    assert len(set(ids)) == 25
    hit = first["hits"][0]
    assert "".join(part["text"] for part in hit["fragments"]).strip() == hit["snippet"]
    narrowed = read(
        sample,
        "/v1/search",
        query="quote",
        role=hit["role"],
        kind="text",
        channel=hit["channel"],
        lead=hit["lead"],
        customer_id=hit["customer_id"],
        since="2020-01-01T00:00:00Z",
        until="2030-01-01T00:00:00+00:00",
    )
    assert hit["id"] in {each["id"] for each in narrowed["hits"]}
    assert read(sample, "/v1/search", query="quote", until="2020-01-01T00:00:00Z")["hits"] == []


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({}, 422),
        ({"query": ""}, 422),
        ({"query": "x" * 1_001}, 422),
        ({"query": "the"}, 409),
        ({"query": " "}, 409),
        ({"query": "quote", "after": "nonsense"}, 409),
        ({"query": "quote", "role": "ghost"}, 422),
        ({"query": "quote", "limit": 101}, 422),
        ({"query": "quote", "since": "yesterday"}, 422),
        ({"query": "quote", "since": "2026-01-01T00:00:00"}, 422),
        ({"query": "quote", "since": "1767323045"}, 422),
        ({"query": "quote", "customer_id": "7"}, 422),
    ],
)
def test_a_search_that_cannot_be_is_refused_in_words(sample, query, status):
    problem(sample.ask("GET", "/v1/search", sample.staff, params=query), status)


def test_customers_are_listed_found_and_shown_with_their_leads(sample):
    everybody = read(sample, "/v1/customers")
    assert len(everybody["customers"]) == 2
    first = read(sample, "/v1/customers", limit=1)
    second = read(sample, "/v1/customers", limit=1, after=first["next"])
    assert first["customers"] + second["customers"] == everybody["customers"]
    twice = next(each for each in everybody["customers"] if each["leads"] == 2)
    shown = read(sample, f"/v1/customers/{twice['id']}")
    assert shown["customer"] == twice
    assert len(shown["leads"]) == 2
    for lead in shown["leads"]:
        conversation = read(sample, f"/v1/conversations/{lead['lead']}")["conversation"]
        assert conversation["id"] == lead["conversation_id"]
        assert conversation["customer_id"] == twice["id"]
    assert read(sample, "/v1/customers", query=twice["phone"])["customers"] == [twice]
    problem(sample.ask("GET", f"/v1/customers/{uuid.uuid4()}", sample.staff), 404)
    problem(sample.ask("GET", "/v1/customers/7", sample.staff), 422)


def test_a_customer_who_was_merged_away_is_not_there(sample):
    ids = [row.id for row in sample.rows("SELECT id FROM customers ORDER BY id")]
    sample.do(f"UPDATE customers SET merged_into_id = '{ids[0]}' WHERE id = '{ids[1]}'")
    problem(sample.ask("GET", f"/v1/customers/{ids[1]}", sample.staff), 404)
    assert len(read(sample, "/v1/customers")["customers"]) == 1


def test_runs_are_listed_and_shown_with_their_report(sample):
    (run,) = read(sample, "/v1/runs")["runs"]
    assert run["status"] == "done"
    assert run["report"]["messages_created"] == 216
    for reference in ("last", run["run_id"], run["run_id"][:8]):
        assert read(sample, f"/v1/runs/{reference}") == run
    problem(sample.ask("GET", "/v1/runs/nothing", sample.staff), 404)


def test_reading_writes_nothing(sample):
    for path in ("/v1/runs", "/v1/customers", "/v1/search?query=quote"):
        assert sample.ask("GET", path, sample.staff).status_code == 200
    assert sample.rows("SELECT FROM tool_calls") == []

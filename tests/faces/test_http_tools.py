"""Tools over HTTP: the session's own answers, repeated safely, refused by status and in words."""

from concurrent.futures import ThreadPoolExecutor

import orjson
import pytest
from http_world import event, problem, served

from backstory.tools.catalog import MEMORY_TOOLS, TOOLS
from backstory.tools.schemas import Format, projection


@pytest.mark.parametrize("shape", list(Format))
def test_the_tools_are_listed_as_each_provider_takes_them(business, shape):
    for by in (business.token(), business.agent, business.staff):
        answer = business.ask("GET", f"/v1/tools?format={shape}", by)
        assert answer.json() == {"format": shape, "tools": projection(TOOLS, shape)}
    assert problem(business.ask("GET", "/v1/tools?format=xml", business.agent), 422)


def test_a_call_is_answered_with_the_tools_own_output(business):
    token = business.token()
    said = business.call(token, "create_job", title="Garage", price_cents=9900)
    assert said["outcome"] == "created"
    item = business.call(
        token, "add_job_item", job_id=said["job"]["job_id"], kind="item", name="Sofa"
    )
    assert item["outcome"] == "added"


def test_null_is_what_is_not_given(business):
    said = business.call(business.token(), "create_job", title="Garage", description=None)
    assert said["outcome"] == "created"


REFUSALS = [
    ("create_job", {"title": "x"}, 422, "invalid_arguments"),
    ("create_job", {"title": "Garage", "customer_id": "7"}, 422, "invalid_arguments"),
    ("add_job_item", {"job_id": "0" * 32, "kind": "item", "name": "Sofa"}, 404, "not_found"),
    ("open_sesame", {}, 404, "unknown_tool"),
    ("create_job/", {}, 404, None),
    ("../sessions", {}, 401, None),
]


@pytest.mark.parametrize(("tool", "arguments", "status", "outcome"), REFUSALS)
def test_a_refusal_is_a_problem_for_programs_and_a_sentence_for_the_model(
    business, tool, arguments, status, outcome
):
    answer = business.ask("POST", f"/v1/tools/{tool}", business.token(), json=arguments)
    said = problem(answer, status)
    assert said.get("outcome") == outcome
    if outcome:
        assert said["type"].endswith(outcome)
        assert said["message"] in said["detail"]
        assert said["next_step"] in said["detail"]


BODIES = [
    (b"", 400),
    (b"[]", 400),
    (b"null", 400),
    (b'"title"', 400),
    (b'{"title": "Garage"', 400),
    (b'{"title": NaN}', 400),
    (b"\xff", 400),
    (b"[" * 100_000, 400),
    (b'{"a":' * 2_000 + b"1" + b"}" * 2_000, 400),
    (b'{"title": "\\ud800"}', 422),
    (b'{"title": "a\\u0000bcd"}', 422),
    (b'{"title": 1e400}', 400),
    (b'{"price_cents": 99999999999999999999999, "title": "Garage"}', 422),
]


@pytest.mark.parametrize(("body", "status"), BODIES, ids=lambda each: str(each)[:30])
def test_a_body_that_says_no_call_is_refused_in_words(business, body, status):
    headers = {"Content-Type": "application/json"}
    answer = business.ask(
        "POST", "/v1/tools/create_job", business.token(), content=body, headers=headers
    )
    problem(answer, status)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_a_body_says_that_it_is_json(business, kind):
    answer = business.ask(
        "POST",
        "/v1/tools/create_job",
        business.token(),
        content=b'{"title": "Garage"}',
        headers={"Content-Type": kind},
    )
    assert "Content-Type" in problem(answer, 415)["detail"]


# --- again and again -------------------------------------------------------------------------


def jobs(business):
    return business.rows("SELECT title FROM jobs ORDER BY title")


def test_the_same_call_under_a_key_is_answered_as_before(business):
    token = business.token()
    headers = {"Idempotency-Key": "k 1"}
    answers = [
        business.ask(
            "POST", "/v1/tools/create_job", token, json={"title": "Garage"}, headers=headers
        )
        for _ in range(2)
    ]
    assert answers[0].json() == answers[1].json()
    assert [each.headers.get("idempotency-replayed") for each in answers] == [None, "true"]
    assert jobs(business) == [("Garage",)]
    other = business.ask(
        "POST", "/v1/tools/create_job", token, json={"title": "Attic"}, headers=headers
    )
    assert problem(other, 409)["outcome"] == "conflict"


def test_the_same_call_at_once_under_a_key_is_made_once(business):
    token = business.token()
    with ThreadPoolExecutor(6) as pool:
        said = list(
            pool.map(
                lambda _: business.call(token, "create_job", key="k1", title="Garage"), range(12)
            )
        )
    assert all(each == said[0] for each in said)
    assert jobs(business) == [("Garage",)]


def test_the_same_call_at_once_without_a_key_says_what_it_made(business):
    token = business.token()
    with ThreadPoolExecutor(6) as pool:
        addresses = list(
            pool.map(lambda _: business.call(token, "add_address", line1="12 Oak St"), range(6))
        )
    assert sorted(each["outcome"] for each in addresses) == ["created"] + ["duplicate"] * 5
    assert len(business.rows("SELECT FROM customer_addresses")) == 1


def test_a_key_of_another_session_of_the_lead_still_counts(business):
    said = [
        business.call(business.token(ttl_seconds=ttl), "create_job", key="k1", title="Garage")
        for ttl in (60, 90)
    ]
    assert said[0] == said[1]


@pytest.mark.parametrize("key", ["x" * 201, "\x7f", "a\tb", " "])
def test_a_key_that_cannot_be_kept_is_refused(business, key):
    answer = business.ask(
        "POST",
        "/v1/tools/create_job",
        business.token(),
        json={"title": "Garage"},
        headers={"Idempotency-Key": key},
    )
    assert problem(answer, 422)["errors"][0]["field"] == "header.idempotency-key"
    assert jobs(business) == []


# --- memory ----------------------------------------------------------------------------------


def test_the_context_pack_holds_what_fits_and_asks_first(business):
    ana = business.token("ana-1")
    business.call(ana, "create_job", title="Sofa pickup")
    answer = business.ask(
        "POST", "/v1/context", business.token("ana-2"), json={"query": "the sofa", "budget": 400}
    )
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert said["tokens"] <= said["budget"] == 400
    assert any("sofa" in line["text"].lower() for line in said["lines"])
    for asked in ({"query": ""}, {"query": "x", "budget": 10}, {"budget": 400}, {"query": 1}):
        problem(business.ask("POST", "/v1/context", business.token(), json=asked), 422)


def test_without_memory_its_tools_and_the_context_are_not_there(database_url, tmp_path):
    with served(database_url, tmp_path, memory=False) as business:
        business.record(event(1))
        token = business.token()
        refused = business.ask("POST", "/v1/context", token, json={"query": "sofa"})
        assert problem(refused, 404)["outcome"] == "memory_off"
        for tool in MEMORY_TOOLS:
            answer = business.ask("POST", f"/v1/tools/{tool.name}", token, json={"query": "sofa"})
            assert problem(answer, 404)["outcome"] == "unknown_tool"
        listed = business.ask("GET", "/v1/tools", token).json()["tools"]
        assert not {each["name"] for each in listed} & {tool.name for tool in MEMORY_TOOLS}
        described = orjson.loads(business.ask("GET", "/openapi.json").content)
        assert not any("memory" in path for path in described["paths"])


def test_calls_are_counted_by_names_of_ours_only(business):
    token = business.token()
    business.call(token, "create_job", title="Garage")
    business.ask("POST", "/v1/tools/call-me-ana", token, json={})
    said = business.ask("GET", "/metrics", business.staff)
    assert said.headers["content-type"].startswith("text/plain")
    assert 'backstory_tool_calls_total{outcome="created",tool="create_job"} 1.0' in said.text
    assert 'backstory_tool_calls_total{outcome="unknown_tool",tool="unknown"} 1.0' in said.text
    assert 'route="/v1/tools/{name}",status="404"' in said.text
    assert "ana" not in said.text

"""What no well-meaning client sends is answered like everything else: a problem, never a fault."""

from urllib.parse import quote

import pytest
from http_world import Business, bearer, event, problem

JSON = {"Content-Type": "application/json"}
BODIED = ("/v1/sessions", "/v1/context", "/v1/events", "/v1/tools/create_job")
STAFF_S = "/v1/staff/tools/find_customers"
NO_JSON = {
    "nothing": b"",
    "half": b'{"lead": ',
    "two": b"{} {}",
    "list": b"[]",
    "word": b"null",
    "NaN": b'{"lead": NaN}',
    "another encoding": '{"lead": "ana-2"}'.encode("utf-16"),
    "no encoding": b'{"lead": "\xff"}',
    "deep": b'{"lead":' + b"[" * 50_000,
    "a number of 5,000 digits": b'{"lead":' + b"9" * 5_000 + b"}",
}


@pytest.fixture
def whose(business: Business) -> dict[str, str]:
    token = business.token()
    return {
        **dict.fromkeys(BODIED, token),
        "/v1/sessions": business.agent,
        "/v1/events": business.agent,
        STAFF_S: business.staff,
    }


def test_what_is_no_json_is_the_same_at_every_address(business, whose):
    for path, credential in whose.items():
        for name, body in NO_JSON.items():
            answer = business.ask("POST", path, credential, content=body, headers=JSON)
            assert answer.status_code == 400, (path, name, answer.text)
            problem(answer, 400)


def test_what_does_not_say_that_it_is_json_is_not_read(business, whose):
    for path, credential in whose.items():
        for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
            headers = {"Content-Type": kind}
            answer = business.ask("POST", path, credential, content=b"{}", headers=headers)
            assert "Content-Type: application/json" in problem(answer, 415)["detail"], path


def test_who_asks_is_asked_before_what(business, whose):
    for path in whose:
        for headers in (JSON, {"Content-Type": "text/plain"}):
            answer = business.ask("POST", path, "bst_x", content=b"no JSON", headers=headers)
            problem(answer, 401)


def test_fields_are_told_by_where_they_stand(business):
    answer = business.ask("POST", "/v1/sessions", business.agent, json={"lead": 7, "more": 1})
    told = problem(answer, 422)["errors"]
    assert {each["field"] for each in told} == {"body.lead", "body.more"}


def test_what_there_is_to_get_has_a_head(business):
    for path, credential, status in (
        ("/healthz", None, 200),
        ("/readyz", None, 200),
        ("/openapi.json", None, 200),
        ("/v1/customers", business.staff, 200),
        ("/v1/customers", None, 401),
        ("/nowhere", None, 404),
        ("/v1/events", business.agent, 405),
    ):
        answer = business.ask("HEAD", path, credential)
        assert answer.status_code == status, path
        assert answer.headers["content-type"] == (
            "application/json" if status == 200 else "application/problem+json"
        )
    refused = business.ask("DELETE", "/healthz")
    problem(refused, 405)
    assert refused.headers["allow"] == "GET, HEAD"
    counted = business.ask("GET", "/metrics", business.staff).text
    assert 'method="HEAD",route="/healthz",status="200"} 1.0' in counted


def test_a_reference_that_no_database_can_look_for_is_not_there(business):
    for path in (
        *("/v1/runs/%00", "/v1/runs/last%00", "/v1/conversations/%00", "/v1/conversations/%FF"),
        "/v1/conversations/%ED%A0%80",
    ):
        problem(business.ask("GET", path, business.staff), 404)
    for query in ("%00", "%FF", "%ED%A0%80"):
        found = business.ask("GET", f"/v1/customers?query={query}", business.staff)
        assert found.json()["customers"] == []


def test_a_lead_may_be_called_anything(business):
    for number, name in enumerate(("two\nlines", "at the end\n", "a/b", "100 %", "\u202e?#")):
        told = business.ask("POST", "/v1/events", business.agent, json=event(50 + number, name))
        assert told.json()["outcome"] == "created"
        address = f"/v1/conversations/{quote(name, safe='')}"
        read = business.ask("GET", address, business.staff)
        assert read.json()["conversation"]["lead"] == name
        closed = business.ask("POST", f"{address}/close", business.agent)
        assert closed.json()["lead"] == name


# The last moment west of UTC and the first east of it: neither is in a year that Python has.
BEYOND = ("9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+14:00")


@pytest.mark.parametrize("moment", BEYOND)
def test_a_moment_beyond_every_calendar_is_refused_in_words(business, moment):
    token = business.token()
    job = business.call(token, "create_job", title="Garage")["job"]["job_id"]
    for tool, arguments in (
        ("create_job", {"title": "Attic", "scheduled_start": moment}),
        ("record_job_event", {"job_id": job, "event_type": "arrived", "occurred_at": moment}),
    ):
        answer = business.ask("POST", f"/v1/tools/{tool}", token, json=arguments)
        assert "no calendar" in problem(answer, 422)["message"]
    asked = {"query": "sofa", "since": moment}
    answer = business.client.post(
        "/v1/staff/tools/search_messages", json=asked, headers=bearer(business.staff)
    )
    assert "no calendar" in problem(answer, 422)["message"]
    assert business.rows("SELECT title FROM jobs") == [("Garage",)]


def test_the_last_moments_of_the_calendar_are_kept_and_read(business):
    token = business.token()
    for start in ("9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"):
        job = business.call(token, "create_job", title=f"At {start}", scheduled_start=start)["job"]
        assert job["scheduled_start"] == start
    found = business.call(token, "memory_fetch_candidates", query="what was booked before")
    assert found["outcome"] == "found"
    asked = {"query": "what was booked before"}
    assert business.ask("POST", "/v1/context", token, json=asked).status_code == 200

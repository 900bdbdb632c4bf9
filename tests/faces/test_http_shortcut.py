"""What is asked most takes a shortcut past the framework: every answer is the one it would give."""

import json

import pytest
from http_world import bearer, event, greetings, served
from starlette.routing import BaseRoute, Match
from starlette.testclient import TestClient

from backstory.faces.http.service import HttpOptions
from backstory.tools.catalog import TOOLS

JSON = {"content-type": "application/json"}
CREATE = "/v1/tools/create_job"
EVENTS = "/v1/events"
GARAGE = b'{"title": "Garage"}'


class Watching(BaseRoute):
    """The first of the framework's routes: it takes no request, and keeps the paths of all."""

    def __init__(self):
        self.seen = []

    def matches(self, scope):
        if scope["type"] == "http":
            self.seen.append(scope["path"])
        return Match.NONE, {}


def asking_both(business):
    """Ask as ever, and under a proxy's prefix, where there is no shortcut; return both answers."""
    app = business.client.app
    prefixed = TestClient(app, base_url="http://127.0.0.1/proxied", root_path="/proxied")
    watching = Watching()
    app.router.routes.insert(0, watching)

    def ask(path, by, body=b"{}", **headers):
        sent = JSON | {"authorization": f"Bearer {by}"} | headers
        watching.seen.clear()
        answers = [
            client.post(path, content=body() if callable(body) else body, headers=sent)
            for client in (business.client, prefixed)
        ]
        assert watching.seen == [f"/proxied{path}"], "one of them takes the shortcut, and only one"
        return answers

    return ask


@pytest.fixture
def both(business):
    return asking_both(business)


def same(answers):
    """Return one of two answers that are the same to the last header."""
    quick, other = answers
    assert quick.status_code == other.status_code
    assert quick.json() == other.json()
    assert sorted(quick.headers.multi_items()) == sorted(other.headers.multi_items())
    return quick


def too_large():
    """Yield a body that does not say how large it is."""
    for _ in range(17):
        yield b" " * 65_536


def test_an_answer_is_the_same(business, both):
    token = business.token()
    job = business.call(token, "create_job", title="Garage clean-out")["job"]
    answer = same(both(CREATE, token, b'{"title": "Garage clean-out"}'))
    assert answer.status_code == 200
    assert answer.json()["outcome"] == "duplicate"
    assert answer.json()["job"] == job


def test_a_refusal_is_the_same(business, both):
    token = business.token()
    nowhere = b'{"title": "Garage", "address_id": "00000000-0000-4000-8000-000000000000"}'
    bad_key = {"idempotency-key": " k".ljust(300) + "."}
    for status, body, headers in (
        (422, b"{}", {}),
        (422, b'{"title": "Garage", "customer_id": "me"}', {}),
        (422, GARAGE, bad_key),
        (422, GARAGE, {"idempotency-key": ""}),
        (400, b"{", {}),
        (400, b"{", bad_key),
        (400, b"[]", {}),
        (400, b"\xff", {}),
        (415, b"{}", {"content-type": "text/plain"}),
        (413, too_large, {}),
        (404, nowhere, {}),
        (401, b"{}", {"authorization": "Bearer bst_nobody"}),
        (401, b"{}", {"authorization": f"Bearer {business.agent}"}),
        (401, b"{", {"authorization": ""} | bad_key),
    ):
        answer = same(both(CREATE, token, body, **headers))
        assert answer.status_code == status, (status, body, headers)


def test_every_tool_has_its_own(business, both):
    token = business.token()
    for tool in TOOLS:
        answer = same(both(f"/v1/tools/{tool.name}", token, b'{"nonsense": 1}'))
        assert answer.status_code == 422
        assert f"no field of {tool.name}" in answer.json()["message"]


def test_a_replay_is_the_same(business, both):
    token, key = business.token(), {"idempotency-key": "k"}
    first, again = both(CREATE, token, GARAGE, **key)
    assert first.json() == again.json()
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert same(both(CREATE, token, GARAGE, **key)).headers == again.headers
    assert same(both(CREATE, token, b'{"title": "Attic"}', **key)).status_code == 409


def test_an_event_is_taken_both_ways_and_only_from_a_key(business, both):
    for number, path in enumerate(("", "/proxied")):
        client = TestClient(business.client.app, base_url="http://127.0.0.1", root_path=path)
        said = event(100 + number)
        sent = client.post(f"{path}{EVENTS}", json=said, headers=bearer(business.agent))
        assert (sent.status_code, sent.json()["outcome"]) == (201, "created")
    known = json.dumps(event(100)).encode()
    for status, body, headers in (
        (200, known, {}),
        (200, b'{"events": [%b]}' % known, {}),
        (400, b"[]", {}),
        (400, b'{"events": []}', {}),
        (415, known, {"content-type": "text/plain"}),
        (401, known, {"authorization": f"Bearer {business.token()}"}),
        (401, b"[", {"authorization": ""}),
    ):
        answer = same(both(EVENTS, business.agent, body, **headers))
        assert answer.status_code == status, (status, body, headers)


def test_who_asks_too_often_is_told_the_same(database_url, tmp_path):
    for path, options in (
        (CREATE, HttpOptions(session_rate=0.01)),
        (EVENTS, HttpOptions(key_rate=0.01)),
    ):
        with served(database_url, tmp_path, options=options) as business:
            by = business.agent
            if path == CREATE:
                business.record(*greetings())
                by = business.token()
            answer = same(asking_both(business)(path, by))
            assert answer.status_code == 429
            assert answer.headers["retry-after"] == "98"


def test_what_goes_wrong_is_told_the_same(business, both):
    token = business.token()
    business.do("ALTER TABLE tool_calls RENAME TO gone")
    assert same(both(CREATE, token, GARAGE)).status_code == 500


def test_both_are_counted_under_their_route(business, both):
    both(CREATE, business.token(), b'{"title": "Garage clean-out"}')
    counted = business.ask("GET", "/metrics", business.staff).text
    one = 'backstory_http_requests_total{method="POST",route="/v1/tools/create_job",status="200"}'
    assert f"{one} 2.0" in counted
    for outcome in ("created", "duplicate"):
        tool = f'backstory_tool_calls_total{{outcome="{outcome}",tool="create_job"}} 1.0'
        assert tool in counted

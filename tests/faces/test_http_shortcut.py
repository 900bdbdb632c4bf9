"""What is asked most takes a shortcut past the framework: every answer is the one it would give."""

import pytest
from http_world import bearer, event
from starlette.testclient import TestClient

JSON = {"content-type": "application/json"}
CREATE = "/v1/tools/create_job"


@pytest.fixture
def both(business):
    """Ask as ever, and under a proxy's prefix, where there is no shortcut; return both answers."""
    prefixed = TestClient(
        business.client.app, base_url="http://127.0.0.1/proxied", root_path="/proxied"
    )

    def ask(path, by, body=b"{}", **headers):
        sent = {"content": body, "headers": JSON | {"authorization": f"Bearer {by}"} | headers}
        return [client.post(path, **sent) for client in (business.client, prefixed)]

    return ask


def test_an_answer_is_the_same(business, both):
    token = business.token()
    job = business.call(token, "create_job", title="Garage clean-out")["job"]
    quick, other = both(CREATE, token, b'{"title": "Garage clean-out"}')
    assert quick.status_code == 200
    assert quick.json()["outcome"] == "duplicate"
    assert quick.json()["job"] == job
    assert quick.json() == other.json()
    assert quick.headers.items() >= other.headers.items()


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (422, b"{}", {}),
        (422, b'{"title": "Garage", "customer_id": "me"}', {}),
        (422, b'{"title": "Garage"}', {"idempotency-key": " k".ljust(300) + "."}),
        (400, b"{", {}),
        (400, b"[]", {}),
        (415, b"{}", {"content-type": "text/plain"}),
        (413, b" " * (1024 * 1024 + 1), {}),
        (404, b'{"title": "Garage", "address_id": "00000000-0000-4000-8000-000000000000"}', {}),
        (401, b"{}", {"authorization": "Bearer bst_nobody"}),
        (401, b"{}", {"authorization": ""}),
    ],
)
def test_a_refusal_is_the_same(business, both, status, body, headers):
    quick, other = both(CREATE, business.token(), body, **headers)
    assert quick.status_code == status
    assert quick.json() == other.json()
    assert sorted(quick.headers.items()) == sorted(other.headers.items())


def test_a_replay_is_the_same(business, both):
    quick, other = both(
        CREATE, business.token(), b'{"title": "Garage"}', **{"idempotency-key": "k"}
    )
    assert quick.json() == other.json()
    assert "idempotency-replayed" not in quick.headers
    assert other.headers["idempotency-replayed"] == "true"


def test_an_event_is_taken_both_ways_and_only_from_a_key(business, both):
    for number, path in enumerate(("", "/proxied")):
        client = TestClient(business.client.app, base_url="http://127.0.0.1", root_path=path)
        said = event(100 + number)
        sent = client.post(f"{path}/v1/events", json=said, headers=bearer(business.agent))
        assert (sent.status_code, sent.json()["outcome"]) == (201, "created")
    for answer in both("/v1/events", business.token()):
        assert answer.status_code == 401
    for answer in both("/v1/events", business.agent, b"[]"):
        assert answer.status_code == 400


def test_both_are_counted_under_their_route(business, both):
    both(CREATE, business.token(), b'{"title": "Garage clean-out"}')
    counted = business.ask("GET", "/metrics", business.staff).text
    one = 'backstory_http_requests_total{method="POST",route="/v1/tools/create_job",status="200"}'
    assert f"{one} 2.0" in counted

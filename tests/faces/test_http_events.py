"""Events over HTTP: recorded once, answered after their commit, whatever they are made of."""

from concurrent.futures import ThreadPoolExecutor

import orjson
import pytest
from http_world import event, problem

from backstory.faces.http.events import MOST_EVENTS

JSON = {"Content-Type": "application/json"}


def post(business, body, by=None):
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    return business.ask("POST", "/v1/events", by or business.agent, content=content, headers=JSON)


def messages(business, like="%"):
    return business.rows("SELECT content FROM messages WHERE audit_id LIKE :like", like=like)


def test_an_event_is_created_once(business):
    answers = [post(business, event(9, payload={"text": "hello"})) for _ in range(2)]
    assert [each.status_code for each in answers] == [201, 200]
    said = [each.json() for each in answers]
    assert [each["outcome"] for each in said] == ["created", "duplicate"]
    assert said[0]["record_id"] == said[1]["record_id"]
    assert said[0]["conversation_id"] == said[1]["conversation_id"]
    assert messages(business, "e-9") == [("hello",)]


def test_each_event_of_a_batch_has_its_own_outcome(business):
    batch = [
        event(10),
        event(10),
        event(10, payload={"text": "other"}),
        event(11, actor="ghost"),
        event(12, None),
        {},
        event(13, created_at="tomorrow"),
    ]
    said = post(business, {"events": batch})
    assert said.status_code == 201
    outcomes = said.json()["outcomes"]
    assert [each["outcome"] for each in outcomes] == [
        *("created", "duplicate", "conflict", "skipped", "skipped", "quarantined", "quarantined")
    ]
    assert [each["reason"] for each in outcomes[3:]] == [
        *("unknown_actor", "no_lead", "no_id", "bad_time")
    ]
    assert len(business.rows("SELECT FROM quarantine")) == 2


def test_what_cannot_be_read_is_kept_with_its_bytes_and_answered_with_its_reason(business):
    said = post(business, b'{ "id" : "odd" }')
    assert (said.status_code, said.json()["outcome"]) == (200, "quarantined")
    ((raw,),) = business.rows("SELECT raw FROM quarantine")
    assert bytes(raw) == b'{ "id" : "odd" }'


EXACT = [
    b'{"id": "x-1", "lead_id": "l", "actor": "user", "action": "a", "payload": %s,'
    b' "created_at": "2026-01-02T03:04:05Z"}' % payload
    for payload in (
        b'{"n": 123456789012345678901234567890}',
        b'{"text": "a\\u0000b"}',
        b'{"text": "a\\ud83d"}',
        b'{"n": 1.10, "text": "\xc3\xa9"}',
    )
]


@pytest.mark.parametrize("raw", EXACT)
def test_an_event_is_the_same_alone_and_in_a_batch(business, raw):
    assert post(business, raw).json()["outcome"] == "created"
    outcomes = post(business, b'{"events": [%s]}' % raw).json()["outcomes"]
    assert [each["outcome"] for each in outcomes] == ["duplicate"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"7",
        b"{",
        b'{"events": []}',
        b'{"events": {}}',
        b'{"events": [1]}',
        b'{"events": [{}, null]}',
        b'{"events": [%s]}' % b",".join([b"{}"] * (MOST_EVENTS + 1)),
        b'{"id": "x", "payload": NaN}',
    ],
    ids=lambda body: body[:25],
)
def test_a_body_that_holds_no_events_is_refused_in_words(business, body):
    before = len(business.rows("SELECT FROM quarantine"))
    problem(post(business, body), 400)
    assert len(business.rows("SELECT FROM quarantine")) == before


def test_an_event_may_have_a_field_called_events(business):
    assert post(business, event(9, events=[1])).json()["outcome"] == "created"


def test_a_large_batch_keeps_its_order(business):
    batch = [event(number, created_at="2026-06-01T00:00:00Z") for number in range(100, 1_100)]
    said = post(business, {"events": batch}).json()["outcomes"]
    assert {each["outcome"] for each in said} == {"created"}
    assert [each["audit_id"] for each in said] == [each["id"] for each in batch]
    kept = business.rows(
        "SELECT audit_id FROM messages WHERE audit_id LIKE 'e-%' AND created_at ="
        " '2026-06-01T00:00:00Z' ORDER BY created_at, seq"
    )
    assert [audit_id for (audit_id,) in kept] == [each["id"] for each in batch]


def test_events_of_many_clients_that_repeat_themselves_are_recorded_once(business):
    def client(number):
        return [
            post(business, event(1_000 + 10 * number + each % 10, f"lead-{number}")).json()[
                "outcome"
            ]
            for each in range(20)
        ]

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(client, range(8)))
    assert all(sorted(each) == ["created"] * 10 + ["duplicate"] * 10 for each in outcomes)
    assert len(business.rows("SELECT FROM messages WHERE audit_id LIKE 'e-1___'")) == 80


def test_a_transport_that_knows_its_lead_links_it(business):
    known = {"channel": "web", "phone": "+12025550177"}
    assert post(business, event(9, "bob-2", lead=known)).status_code == 201
    bob = "SELECT count(DISTINCT customer_id) FROM leads WHERE external_id LIKE 'bob%'"
    assert business.rows(bob) == [(1,)]


def test_a_conversation_can_be_closed_and_the_next_event_begins_another(business):
    path = "/v1/conversations/ana-2/close"
    closed = business.ask("POST", path, business.agent)
    assert closed.status_code == 200
    assert closed.json()["changed"]
    again = business.ask("POST", path, business.agent).json()
    assert again == closed.json() | {"changed": False}
    assert post(business, event(99, created_at="2030-01-01T00:00:00Z")).status_code == 201
    ordinals = (
        "SELECT v.ordinal, v.status FROM conversations v JOIN leads l ON l.id = v.lead_id"
        " WHERE l.external_id = 'ana-2' ORDER BY 1"
    )
    assert business.rows(ordinals) == [(0, "closed"), (1, "open")]
    problem(business.ask("POST", "/v1/conversations/nobody/close", business.agent), 404)
    ((by,),) = business.rows(
        "SELECT payload ->> 'by' FROM audit_log WHERE action = 'conversation_closed'"
    )
    assert by == "shop"


def test_a_lead_whose_id_looks_like_a_path_can_be_read_and_closed(business):
    lead = "a/b?c#d/close"
    business.record(event(9, lead))
    quoted = "a%2Fb%3Fc%23d%2Fclose"
    read = business.ask("GET", f"/v1/conversations/{quoted}", business.staff)
    assert read.json()["conversation"]["lead"] == lead
    closed = business.ask("POST", f"/v1/conversations/{quoted}/close", business.agent)
    assert closed.json()["lead"] == lead


def test_while_the_server_closes_events_are_refused_for_another_try(business):
    service = business.client.app.state.service
    service.queue.close()
    for body in (event(50), {"events": [event(51), event(52)]}):
        refused = post(business, body)
        assert "repeat" in problem(refused, 503)["detail"]
        assert refused.headers["retry-after"] == "1"
    assert messages(business, "e-5_") == []


def test_events_are_counted_by_their_outcome(business):
    post(business, event(9))
    post(business, event(9))
    said = business.ask("GET", "/metrics", business.staff).text
    assert 'backstory_events_total{outcome="created"} 4.0' in said
    assert 'backstory_events_total{outcome="duplicate"} 1.0' in said
    assert "backstory_events_waiting 0.0" in said

"""Who may ask over HTTP for what, and that a refusal tells nothing about anybody."""

import itertools

import pytest
from http_world import PEOPLE, bearer, event, problem, served

from backstory.faces.http.service import HttpOptions
from backstory.model import KeyProfile
from backstory.store.keys import revoke_key

JSON = {"Content-Type": "application/json"}
FOR_STAFF = ("/v1/search?query=sofa", "/v1/customers", "/v1/runs", "/v1/runs/last", "/metrics")
FOR_KEYS = (("POST", "/v1/sessions"), ("POST", "/v1/events"), ("POST", "/v1/conversations/x/close"))
FOR_SESSIONS = (("POST", "/v1/tools/create_job"), ("POST", "/v1/tools/no"), ("POST", "/v1/context"))


def everything():
    """Every address that needs somebody, with the method."""
    gets = [*FOR_STAFF, "/v1/conversations", "/v1/conversations/ana-2", "/v1/tools"]
    gets += [f"/v1/customers/{'0' * 32}"]
    return [*FOR_KEYS, *FOR_SESSIONS, *(("GET", path) for path in gets)]


def test_nothing_is_answered_to_nobody(business):
    words = set()
    for method, path in everything():
        for headers in ({}, {"Authorization": "Basic c2hvcDpzaG9w"}, bearer(""), bearer("x y")):
            answer = business.client.request(method, path, headers=headers | JSON)
            words.add(problem(answer, 401)["detail"])
            assert answer.headers["www-authenticate"] == "Bearer"
    assert len(words) == 1


def test_whatever_is_wrong_with_a_credential_the_words_are_the_same(business):
    token = business.token()
    expired = business.token(ttl_seconds=1)
    revoked = business.key(KeyProfile.AGENT, "gone")
    of_revoked = business.token(by=revoked)
    with business.app.database.engine.begin() as connection:
        (key,) = connection.exec_driver_sql("SELECT id FROM api_keys WHERE name = 'gone'").one()
        revoke_key(connection, str(key))
    service = business.client.app.state.service
    service.access._keys._kept.clear()
    business.do("SELECT pg_sleep(1)")
    wrong = [expired, of_revoked, token[:-4] + "AAAA", token[4:], "bst_", business.agent]
    answers = [business.ask("POST", "/v1/tools/create_job", each, json={}) for each in wrong]
    answers += [
        business.ask("POST", "/v1/sessions", each, json={"lead": "ana-2"})
        for each in (revoked, business.agent[:-1], business.agent + "A", "bsk_agent_", token)
    ]
    assert len({problem(answer, 401)["detail"] for answer in answers}) == 1
    assert not any(lead in answer.text for answer in answers for lead in PEOPLE)


def test_what_is_across_customers_needs_a_key_of_the_staff(business):
    others = (f"/v1/customers/{'0' * 32}", "/v1/conversations", "/v1/conversations/ana-2")
    for path in (*FOR_STAFF, *others):
        assert "staff" in problem(business.ask("GET", path, business.agent), 403)["detail"]
        assert business.ask("GET", path, business.staff).status_code in {200, 404}


def test_a_session_is_no_key_and_a_key_no_session(business):
    token = business.token()
    for method, path in [*FOR_KEYS, *(("GET", path) for path in FOR_STAFF)]:
        problem(business.ask(method, path, token, json={"lead": "ana-2"}), 401)
    for method, path in FOR_SESSIONS:
        for key in (business.agent, business.staff):
            problem(business.ask(method, path, key, json={"query": "sofa"}), 401)


def test_the_staff_may_do_what_agents_keys_may(business):
    assert business.call(business.token(by=business.staff), "create_job", title="Garage")
    assert business.ask("POST", "/v1/events", business.staff, json=event(9)).status_code == 201


def test_a_session_says_what_it_is(business):
    asked = {"lead": "ana-2", "actor": "bot 7", "ttl_seconds": 60}
    answer = business.ask("POST", "/v1/sessions", business.agent, json=asked)
    assert answer.status_code == 201
    said = answer.json()
    assert said["lead"] == "ana-2"
    assert "create_job" in said["tools"]
    assert "memory_fetch_candidates" in said["tools"]
    business.call(said["token"], "create_job", title="Garage")
    assert business.rows("SELECT DISTINCT actor FROM tool_calls") == [("bot 7",)]


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"lead": "nobody"}, 404),
        ({}, 422),
        ({"lead": ""}, 422),
        ({"lead": 7}, 422),
        ({"lead": "ana-2", "ttl_seconds": 0}, 422),
        ({"lead": "ana-2", "ttl_seconds": 86_401}, 422),
        ({"lead": "ana-2", "ttl_seconds": "60"}, 422),
        ({"lead": "ana-2", "actor": "\n"}, 422),
        ({"lead": "ana-2", "customer_id": "x"}, 422),
    ],
)
def test_a_session_that_cannot_be_is_refused_in_words(business, asked, status):
    said = problem(business.ask("POST", "/v1/sessions", business.agent, json=asked), status)
    if status == 422:
        assert said["errors"][0]["field"].startswith("body.")


def test_a_secret_in_the_wrong_place_is_not_repeated(business):
    for asked in ({"lead": 7, "token": "s3cret"}, {"lead": ["s3cret"]}, {"s3cret": 1, "lead": "x"}):
        answer = business.ask("POST", "/v1/sessions", business.agent, json=asked)
        assert "s3cret" not in problem(answer, 422)["detail"].replace("body.s3cret", "")


# --- one customer and another ----------------------------------------------------------------


def foreign_ids(business):
    """Ids of Bob's, and of nobody's."""
    bob = business.token("bob-1")
    address = business.call(bob, "add_address", line1="9 Elm St", city="Austin")
    job = business.call(bob, "create_job", title="Attic")
    return address["address"]["address_id"], job["job"]["job_id"]


def test_what_is_anothers_reads_as_what_is_not_there(business):
    ana = business.token("ana-2")
    address, job = foreign_ids(business)
    nobodys = "8a1e6b0c-2f43-4c7d-8f7e-6a9d5b2c4e10"
    pairs = [
        ("create_job", {"title": "Garage", "address_id": address}, address),
        ("add_job_item", {"job_id": job, "kind": "item", "name": "Sofa"}, job),
        ("record_job_event", {"job_id": job, "event_type": "note_added", "note": "x"}, job),
    ]
    for tool, arguments, foreign in pairs:
        unknown = {name: nobodys if v == foreign else v for name, v in arguments.items()}
        answers = [
            business.ask("POST", f"/v1/tools/{tool}", ana, json=each)
            for each in (arguments, unknown)
        ]
        said = [problem(answer, 404) for answer in answers]
        assert {each["outcome"] for each in said} == {"not_found"}
        told = [
            str(each).replace(key, "IT") for each, key in zip(said, (foreign, nobodys), strict=True)
        ]
        assert told[0] == told[1]


def test_a_session_reads_the_conversations_of_its_own_customer_only(business):
    ana = business.token("ana-2")
    ids = {row.lead: str(row.id) for row in business.rows(
        "SELECT l.external_id AS lead, v.id FROM conversations v JOIN leads l ON l.id = v.lead_id"
    )}  # fmt: skip
    for mine in ("ana-1", "ana-2", ids["ana-1"], ids["ana-2"], ids["ana-2"][:8]):
        answer = business.ask("GET", f"/v1/conversations/{mine}", ana)
        assert answer.status_code == 200, answer.text
        assert {each["role"] for each in answer.json()["messages"]} == {"user"}
    words = []
    foreign = ("bob-1", ids["bob-1"], ids["bob-1"][:8], "nobody-1", "0" * 32, "00000000")
    for reference in foreign:
        said = problem(business.ask("GET", f"/v1/conversations/{reference}", ana), 404)
        words.append(said["detail"].replace(reference, "IT"))
        assert "sofa" not in str(said)
    assert len(set(words)) == 1
    tries = business.rows(
        "SELECT outcome FROM tool_calls WHERE tool = 'read_conversation' AND outcome = 'not_found'"
    )
    assert len(tries) == len(foreign)


def test_a_page_behind_anothers_message_tells_nothing(business):
    ana = business.token("ana-2")
    (message,) = business.rows("SELECT id FROM messages WHERE content LIKE '%bob%'")
    for after in (message.id, "8a1e6b0c-2f43-4c7d-8f7e-6a9d5b2c4e10"):
        said = problem(business.ask("GET", f"/v1/conversations/ana-2?after={after}", ana), 404)
        assert said["detail"].replace(str(after), "IT").startswith("Message IT is not in this")


# --- how often -------------------------------------------------------------------------------


def test_a_session_and_a_key_may_ask_so_often(database_url, tmp_path):
    options = HttpOptions(session_rate=1, key_rate=4)
    with served(database_url, tmp_path, options=options) as business:
        business.record(event(1), event(2, "bob-1"))
        token, other = business.token(), business.token("bob-1")
        for each in (token, token):
            assert business.ask("GET", "/v1/tools", each).status_code == 200
        refused = business.ask("GET", "/v1/tools", token)
        assert "slow down" in problem(refused, 429)["detail"]
        assert refused.headers["retry-after"] == "1"
        assert business.ask("GET", "/v1/tools", other).status_code == 200
        statuses = [business.ask("GET", "/v1/tools", business.agent).status_code for _ in range(9)]
        assert statuses.count(429) >= 3
        # A batch counts by its events.
        batch = {"events": [event(number) for number in range(3, 40)]}
        assert business.ask("POST", "/v1/events", business.staff, json=batch).status_code == 201
        waited = business.ask("GET", "/v1/tools", business.staff)
        assert int(waited.headers["retry-after"]) > 5


def test_whoever_tries_keys_out_is_slowed_down_and_known_keys_are_not(database_url, tmp_path):
    options = HttpOptions(stranger_rate=3)
    with served(database_url, tmp_path, options=options) as business:
        assert business.ask("GET", "/v1/tools", business.agent).status_code == 200
        guesses = itertools.count()
        statuses = [
            business.ask("GET", "/v1/tools", f"bsk_agent_{next(guesses)}").status_code
            for _ in range(12)
        ]
        assert set(statuses) == {401, 429}
        business.client.app.state.service.access._keys._clock = lambda: float("inf")
        assert business.ask("GET", "/v1/tools", business.agent).status_code == 200

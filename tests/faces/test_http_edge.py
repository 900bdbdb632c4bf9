"""The edge of HTTP: how much may be asked, what every answer carries, and what a fault says."""

import logging
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from http_world import FREE, event, problem, served
from sqlalchemy import text
from starlette.responses import PlainTextResponse

from backstory.errors import Transient
from backstory.faces.http.application import Mounted
from backstory.faces.http.limits import Buckets, Rate
from backstory.store.engine import Database, translated

JSON = {"Content-Type": "application/json"}
SMALL = replace(FREE, largest_body=1_000, largest_events_body=5_000)


class Ticks:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


# --- buckets ---------------------------------------------------------------------------------


def test_a_bucket_gives_its_rate_and_what_it_saved_up():
    ticks = Ticks()
    buckets = Buckets(Rate(per_second=2, burst=3), ticks)
    assert [buckets.wait("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert buckets.wait("b") == 0
    ticks.now = 0.25
    assert buckets.wait("a") == 0.25
    ticks.now = 0.5
    assert [buckets.wait("a") for _ in range(2)] == [0, 0.5]
    ticks.now = 1_000
    assert [buckets.wait("a") for _ in range(4)] == [0, 0, 0, 0.5]


def test_what_turned_out_larger_is_owed():
    ticks = Ticks()
    buckets = Buckets(Rate(per_second=10, burst=10), ticks)
    assert buckets.wait("a") == 0
    buckets.owe("a", 99)
    assert buckets.wait("a") == pytest.approx(9.1)
    ticks.now = 9.2
    assert buckets.wait("a") == 0


def test_no_rate_is_no_limit():
    buckets = Buckets(Rate.of(0), Ticks())
    buckets.owe("a", 1e9)
    assert {buckets.wait("a") for _ in range(1_000)} == {0}


def test_callers_who_are_gone_are_forgotten():
    ticks = Ticks()
    buckets = Buckets(Rate(per_second=1, burst=1), ticks)
    for number in range(30_000):
        ticks.now = number / 1_000
        buckets.wait(number)
    assert len(buckets._left) <= 10_000
    assert buckets.wait(29_999) > 0


# --- how large -------------------------------------------------------------------------------


@pytest.fixture
def small(database_url, tmp_path):
    with served(database_url, tmp_path, options=SMALL) as business:
        business.record(event(1))
        yield business


def streamed(size):
    """Yield a body whose length nobody announced."""
    for _ in range(size // 100):
        yield b"x" * 100


@pytest.mark.parametrize("body", [b"x" * 6_000, streamed(6_000)], ids=["announced", "streamed"])
def test_a_body_that_is_too_large_is_refused(small, body):
    answer = small.ask("POST", "/v1/events", small.agent, content=body, headers=JSON)
    assert "5,000 bytes" in problem(answer, 413)["detail"]


def test_the_limit_of_events_is_their_own(small):
    token = small.token()
    large = {"title": "Garage", "description": "x" * 1_500}
    problem(small.ask("POST", "/v1/tools/create_job", token, json=large), 413)
    answer = small.ask("POST", "/v1/sessions", small.agent, content=streamed(2_000), headers=JSON)
    problem(answer, 413)
    assert small.ask("POST", "/v1/events", small.agent, json=event(2) | large).status_code == 201


def test_a_length_that_lies_is_no_way_round_the_limit(small):
    headers = JSON | {"Content-Length": "10"}
    answer = small.ask("POST", "/v1/events", small.agent, content=b"x" * 6_000, headers=headers)
    problem(answer, 413)


# --- every answer ----------------------------------------------------------------------------

ADDRESSES = [
    ("GET", "/healthz", 200),
    ("GET", "/readyz", 200),
    ("GET", "/openapi.json", 200),
    ("GET", "/nowhere", 404),
    ("GET", "/", 404),
    ("GET", "/docs", 404),
    ("GET", "/v1/tools/", 404),
    ("DELETE", "/v1/events", 405),
    ("PUT", "/v1/tools/create_job", 405),
    ("OPTIONS", "/v1/sessions", 405),
    ("GET", "/v1/customers", 401),
]


@pytest.mark.parametrize(("method", "path", "status"), ADDRESSES)
def test_every_answer_has_the_headers_that_protect(business, method, path, status):
    answer = business.client.request(method, path, headers={"Origin": "https://evil.example"})
    if status == 200:
        assert answer.headers["content-type"] == "application/json"
    else:
        problem(answer, status)
    assert answer.status_code == status
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "server" not in answer.headers
    assert not any(name.startswith("access-control") for name in answer.headers)
    assert ("allow" in answer.headers) == (status == 405)


# --- what is mounted -------------------------------------------------------------------------


def test_what_is_mounted_lives_with_the_server_and_counts_with_it(database_url, tmp_path):
    lived = []

    @asynccontextmanager
    async def running():
        lived.append("begun")
        yield
        lived.append("ended")

    async def other(scope, receive, send):
        await PlainTextResponse("served")(scope, receive, send)

    mounts = [Mounted("/other", other, running)]
    options = replace(FREE, session_rate=1)
    with served(database_url, tmp_path, options=options, mounts=mounts) as business:
        answers = [business.ask("POST", "/other", "bst_x") for _ in range(3)]
        assert [each.status_code for each in answers] == [200, 200, 429]
        problem(answers[2], 429)
        assert answers[0].headers["cache-control"] == "no-store"
        said = business.ask("GET", "/metrics", business.staff).text
        assert 'route="/other",status="200"} 2.0' in said
        assert lived == ["begun"]
    assert lived == ["begun", "ended"]


# --- faults ----------------------------------------------------------------------------------


def test_a_defect_is_answered_without_a_trace_and_logged_under_its_id(business, caplog):
    class Broken:
        def __getattr__(self, name):
            raise RuntimeError("s3cret")

    service = business.client.app.state.service
    service.access = Broken()
    with caplog.at_level(logging.ERROR):
        said = problem(business.ask("GET", "/v1/conversations/ana-2", business.staff), 500)
    assert "s3cret" not in str(said)
    (record,) = [each for each in caplog.records if each.exc_info]
    assert said["instance"].removeprefix("urn:uuid:") in record.getMessage()
    assert "{reference:whole}" in record.getMessage()
    assert "ana-2" not in record.getMessage()


def test_what_the_database_refuses_is_the_logs_to_tell(business, caplog):
    token = business.token()
    business.do("ALTER TABLE jobs RENAME TO elsewhere")
    with caplog.at_level(logging.ERROR):
        said = problem(
            business.ask("POST", "/v1/tools/create_job", token, json={"title": "Garage"}), 500
        )
    assert "jobs" not in str(said)
    assert "jobs" in caplog.text


def test_a_statement_that_takes_too_long_is_given_up(database_url):
    database = Database.open(database_url, "backstory", statement_seconds=0.2)
    with (
        pytest.raises(Transient, match="too long"),
        translated(),
        database.engine.connect() as connection,
    ):
        connection.execute(text("SELECT pg_sleep(5)"))
    database.engine.dispose()


# --- health ----------------------------------------------------------------------------------


def stale(business):
    business.client.app.state.service.readiness = None


def test_a_server_says_whether_it_lives_and_whether_it_can_serve(business):
    assert business.ask("GET", "/healthz").json() == {"alive": True}
    ready = business.ask("GET", "/readyz").json()
    assert ready == {"ready": True, "checks": {"database": "ok", "schema": "ok", "agents": "ok"}}
    stale(business)
    business.do("REVOKE SELECT ON messages FROM backstory_agent")
    said = problem(business.ask("GET", "/readyz"), 503)
    assert said["checks"] == {"database": "ok", "schema": "ok", "agents": "no role"}
    stale(business)
    business.do("UPDATE alembic_version SET version_num = '0001'")
    assert problem(business.ask("GET", "/readyz"), 503)["checks"]["schema"] == "outdated"


def test_without_its_database_a_server_lives_and_says_to_try_again(business, server_url):
    name = business.app.database.engine.url.database
    admin = Database.open(server_url, "public")
    with admin.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false'))
        connection.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"),
            {"name": name},
        )
        try:
            said = problem(business.ask("GET", "/readyz"), 503)
            assert said["checks"]["database"] == "unreachable"
            assert business.ask("GET", "/healthz").status_code == 200
            answer = business.ask("POST", "/v1/events", business.agent, json=event(9))
            assert answer.status_code in {500, 503}
            problem(answer, answer.status_code)
        finally:
            connection.execute(text(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true'))
    admin.engine.dispose()
    assert business.ask("POST", "/v1/events", business.agent, json=event(9)).status_code == 201

"""`backstory serve` as a process: where it listens, how it ends, that nothing accepted is lost."""

import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import httpx2
import psutil
import psycopg
import pytest
from http_world import Process, bearer, event, served
from waiting import until

from backstory.model import KeyProfile


@pytest.fixture
def keys(database_url, tmp_path):
    """Keys of a business to which Ana has written: an agent's, the staff's."""
    with served(database_url, tmp_path) as business:
        business.record(event(1))
        return business.key(KeyProfile.AGENT), business.key(KeyProfile.STAFF)


def count(url, like):
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "SELECT count(*) FROM backstory.messages WHERE audit_id LIKE %s", [like]
        ).fetchone()
    return found[0]


def test_it_listens_on_this_machine_and_says_where_and_what_to_do_first(database_url, tmp_path):
    with Process(database_url, tmp_path) as server:
        assert server.url.startswith("http://127.0.0.1:")
        assert httpx2.get(f"{server.url}/healthz").json() == {"alive": True}
        assert server.end() == 0
        assert "backstory key create" in server.said()
        assert "Traceback" not in server.said()


def test_it_makes_the_schema_it_needs(empty_database_url, tmp_path):
    with Process(empty_database_url, tmp_path) as server:
        assert httpx2.get(f"{server.url}/readyz").json()["ready"]


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_what_was_accepted_is_answered_and_written_before_it_ends(database_url, tmp_path, keys, by):
    """The lead is locked, so that events wait in the queue while the server is asked to end."""
    lock = psycopg.connect(database_url)
    lock.execute("SELECT FROM backstory.leads WHERE external_id = 'ana-2' FOR UPDATE")
    lock.execute("LOCK TABLE backstory.messages IN EXCLUSIVE MODE")
    answers = []
    with Process(database_url, tmp_path) as server:

        def send(number):
            answers.append(
                httpx2.post(
                    f"{server.url}/v1/events",
                    json=event(number),
                    headers=bearer(keys[0]),
                    timeout=60,
                ).json()["outcome"]
            )

        clients = [threading.Thread(target=send, args=[number]) for number in range(10, 18)]
        for client in clients:
            client.start()
        waiting = 0
        while waiting < 1:
            waiting = lock.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                " AND datname = current_database()"
            ).fetchone()[0]
            time.sleep(0.05)
        # All of them are in: one batch is being written, the others wait for it.
        time.sleep(0.5)
        server.process.send_signal(by)
        time.sleep(0.5)
        assert server.process.poll() is None
        lock.rollback()
        lock.close()
        for client in clients:
            client.join()
        assert server.process.wait(timeout=30) == 0, server.said()
    assert answers == ["created"] * 8
    assert count(database_url, "e-1_") == 8


def test_clients_that_repeat_lose_and_double_nothing_when_the_server_is_killed(
    database_url, tmp_path, keys
):
    port, stop = free_port(), threading.Event()
    done = dict.fromkeys([10_000, 20_000, 30_000, 40_000], 0)

    def client(first):
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as http:
            while not stop.is_set():
                said = event(first + done[first], f"lead-{first}")
                try:
                    answer = http.post("/v1/events", json=said, headers=bearer(keys[0]))
                except httpx2.TransportError:
                    time.sleep(0.02)
                    continue
                done[first] += answer.status_code in {200, 201}

    clients = [threading.Thread(target=client, args=[first]) for first in done]
    for each in clients:
        each.start()
    for each_has in (15, 40):
        with Process(database_url, tmp_path, "--port", str(port)) as server:
            until(lambda each_has=each_has: min(done.values()) >= each_has)
            server.process.kill()
    stop.set()
    for each in clients:
        each.join()
    for first, sent in done.items():
        with psycopg.connect(database_url) as connection:
            kept = connection.execute(
                "SELECT m.audit_id FROM backstory.messages m JOIN backstory.conversations v"
                " ON v.id = m.conversation_id JOIN backstory.leads l ON l.id = v.lead_id"
                " WHERE l.external_id = %s ORDER BY m.created_at",
                [f"lead-{first}"],
            ).fetchall()
        # The last one may have been written without an answer.
        assert [each for (each,) in kept][:sent] == [f"e-{first + n}" for n in range(sent)]
        assert len(kept) - sent in {0, 1}


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_tool_that_was_called_is_answered_before_it_ends(database_url, tmp_path, keys, workers):
    """The customer is locked, so that the call waits while all processes are asked to end."""
    answers = []
    with (
        psycopg.connect(database_url) as lock,
        Process(database_url, tmp_path, "--workers", workers) as server,
    ):
        token = httpx2.post(
            f"{server.url}/v1/sessions", json={"lead": "ana-2"}, headers=bearer(keys[0])
        ).json()["token"]

        def call():
            given = {"json": {"title": "Garage"}, "headers": bearer(token), "timeout": 60}
            answers.append(httpx2.post(f"{server.url}/v1/tools/create_job", **given).status_code)

        lock.execute("SELECT FROM backstory.customers FOR UPDATE")
        client = threading.Thread(target=call)
        client.start()
        waiting = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        until(lambda: lock.execute(waiting).fetchall())
        # As a service manager does.
        family = family_of(server)
        for each in family:
            each.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert server.process.poll() is None
        lock.rollback()
        client.join()
        assert server.process.wait(timeout=30) == 0, server.said()
        until(lambda: not any(each.is_running() for each in family))
    assert answers == [200]


def family_of(server):
    """Return the processes of a server: its own, and those that it has started."""
    own = psutil.Process(server.process.pid)
    return [own, *own.children(recursive=True)]


def test_nothing_of_a_server_is_left_that_was_killed(database_url, tmp_path):
    with Process(database_url, tmp_path, "--workers", "3") as server:
        family = family_of(server)
        assert len(family) >= 1 + 3
        server.process.kill()
    until(lambda: not any(each.is_running() for each in family))


def test_other_requests_do_not_wait_behind_tools(database_url, tmp_path, keys):
    """More calls than workers and threads wait for a customer that is locked."""
    few = ("--workers", "1", "--threads", "2")
    with psycopg.connect(database_url) as lock, Process(database_url, tmp_path, *few) as server:
        token = httpx2.post(
            f"{server.url}/v1/sessions", json={"lead": "ana-2"}, headers=bearer(keys[0])
        ).json()["token"]
        answers = []

        def call(number):
            given = {"json": {"title": f"Job {number}"}, "headers": bearer(token), "timeout": 60}
            answers.append(httpx2.post(f"{server.url}/v1/tools/create_job", **given).status_code)

        lock.execute("SELECT FROM backstory.customers FOR UPDATE")
        clients = [threading.Thread(target=call, args=[number]) for number in range(6)]
        for client in clients:
            client.start()
        waiting = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        until(lambda: lock.execute(waiting).fetchall())
        time.sleep(0.3)
        assert httpx2.get(f"{server.url}/readyz", timeout=5).status_code == 200
        listed = httpx2.get(f"{server.url}/v1/customers", headers=bearer(keys[1]), timeout=5)
        assert (listed.status_code, answers) == (200, [])
        lock.rollback()
        for client in clients:
            client.join()
    assert answers == [200] * 6


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_an_address_that_cannot_be_had_is_refused_in_words(terminal):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        refused = terminal.type("serve", "--port", port, "--json")
    assert refused.code == 2
    assert port in refused.json["error"]["message"]
    refused = terminal.type("serve", "--host", "no.such.host.invalid", "--port", "0")
    assert (refused.code, "no.such.host.invalid" in refused.err) == (2, True)


def test_tools_over_mcp_and_over_http_are_of_one_session(database_url, tmp_path, keys):
    """One token serves both, and both stop when it ends."""
    with Process(database_url, tmp_path) as server:
        with httpx2.Client(base_url=server.url) as client:
            opened = client.post(
                "/v1/sessions", json={"lead": "ana-2"}, headers=bearer(keys[0])
            ).json()
            message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"} | {
                "params": {"name": "create_job", "arguments": {"title": "Garage"}}
            }
            accept = {"Accept": "application/json, text/event-stream"}
            refused = client.post("/mcp", json=message, headers=accept)
            assert refused.status_code == 401
            assert refused.headers["x-content-type-options"] == "nosniff"
            answer = client.post("/mcp", json=message, headers=accept | bearer(opened["token"]))
            assert answer.status_code == 200, answer.text
            said = client.get("/metrics", headers=bearer(keys[1])).text
            assert 'route="/mcp",status="200"' in said
        server.end()
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT title FROM backstory.jobs").fetchall() == [("Garage",)]


def test_the_page_of_the_docs_can_be_followed(database_url, tmp_path):
    if shutil.which("curl") is None:
        pytest.skip("there is no curl on this machine")
    page = (Path(__file__).parents[2] / "docs" / "http.md").read_text(encoding="utf-8")
    _, journey = re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    with served(database_url, tmp_path) as business:
        key = business.agent
    with Process(database_url, tmp_path) as server:
        script = journey.replace("http://127.0.0.1:8080", server.url)
        done = subprocess.run(
            ["/bin/sh", "-ec", script.replace("bsk_agent_...", key)],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        server.end()
    recorded, called = re.findall(r'"outcome":"(\w+)"', done.stdout)
    assert (recorded, called) == ("created", "created"), done.stdout

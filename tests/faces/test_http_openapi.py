"""OpenAPI is complete and true: schemathesis, which is not ours, finds nothing wrong with it."""

import subprocess
import sys
from pathlib import Path

import pytest
from http_world import Process, event, greetings, served

from backstory.tools.catalog import STAFF_TOOLS, TOOLS

EXAMPLES = 8
CONFIGURATION = """
headers = {{ Authorization = "Bearer {staff}" }}

[[operations]]
include-path = "/v1/context"
headers = {{ Authorization = "Bearer {token}" }}

[[operations]]
include-path-regex = "^/v1/tools/"
headers = {{ Authorization = "Bearer {token}" }}
"""


@pytest.fixture
def described(business):
    return business.ask("GET", "/openapi.json").json()


def operations(described):
    return {
        (method, path): operation
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    }


def test_every_route_is_described_and_says_who_may_ask(described):
    found = operations(described)
    assert {path for _, path in found} == {
        *("/v1/sessions", "/v1/tools", "/v1/events", "/v1/context", "/v1/search", "/v1/customers"),
        *("/v1/conversations", "/v1/conversations/{reference}"),
        "/v1/conversations/{reference}/close",
        *("/v1/customers/{customer_id}", "/v1/runs", "/v1/runs/{reference}"),
        *("/healthz", "/readyz", "/metrics"),
        *(f"/v1/tools/{tool.name}" for tool in TOOLS),
        *("/v1/staff/tools", *(f"/v1/staff/tools/{tool.name}" for tool in STAFF_TOOLS)),
    }
    for (_, path), operation in found.items():
        assert bool(operation.get("security")) == (path not in {"/healthz", "/readyz"}), path
        assert operation["description"]
        assert "500" in operation["responses"]


def test_every_failure_is_described_as_a_problem(described):
    for (method, path), operation in operations(described).items():
        for status, answer in operation["responses"].items():
            if not status.startswith("2"):
                assert list(answer["content"]) == ["application/problem+json"], (method, path)
    assert described["components"]["schemas"]["Problem"]["required"]


def test_schemathesis_finds_nothing_wrong(database_url, tmp_path):
    with served(database_url, tmp_path) as business:
        business.record(*greetings(), event(9))
        token, staff = business.token(ttl_seconds=3_600), business.staff
    configuration = tmp_path / "schemathesis.toml"
    configuration.write_text(CONFIGURATION.format(token=token, staff=staff), encoding="utf-8")
    free = ("--key-rate", "0", "--session-rate", "0")
    with Process(database_url, tmp_path, *free) as server:
        done = subprocess.run(
            [
                *(Path(sys.executable).with_name("st"), "--config-file", configuration, "run"),
                *(f"{server.url}/openapi.json", "--no-color", "--seed", "7"),
                *("--max-examples", str(EXAMPLES), "--generation-deterministic"),
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert server.end() == 0
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Operations:       28 selected / 28 total" in done.stdout
    assert "Traceback" not in server.said()

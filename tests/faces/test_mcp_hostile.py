"""JSON-RPC by hand, as no SDK writes it: each message is answered, and none is half understood."""

import json
import subprocess

import pytest
from cli_world import Terminal
from mcp_served import Office, bearer, posted, served
from mcp_world import business
from test_mcp_clients import HELLO, READY

from backstory.faces.mcp.http import McpApp

CALL = (
    '{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"create_job","arguments":%s}}'
)
CUT = r'{"title": "\ud83d half an emoji"}'
BEYOND = '{"title": "Garage", "price_cents": ' + "9" * 5_000 + "}"


@pytest.fixture
def office(database_url):
    office = Office(business(database_url))
    yield office
    office.database.engine.dispose()


@pytest.fixture
def post(office):
    with served(McpApp(office.access.toolset)) as url:
        token = office.token("ana-2")

        def post(body, **headers):
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            raw = body if isinstance(body, bytes) else body.encode()
            return posted(url, bearer(token, **given), body=raw)

        yield post


def told(answer):
    """Return what the model reads of a call."""
    assert answer.status_code == 200, answer.text
    return json.loads(answer.json()["result"]["content"][0]["text"])


MISFORMED = {
    "null": None,
    "[]": None,
    '[{"jsonrpc":"2.0","id":1,"method":"ping"}]': None,
    '"ping"': None,
    "{}": None,
    '{"id":4,"method":"ping"}': 4,
    '{"jsonrpc":"1.0","id":"a","method":"ping"}': "a",
    '{"jsonrpc":"2.0","id":null,"method":"ping"}': None,
    '{"jsonrpc":"2.0","id":1.5,"method":"ping"}': None,
    '{"jsonrpc":"2.0","id":true,"method":"ping"}': None,
    '{"jsonrpc":"2.0","id":5,"method":6}': 5,
    '{"jsonrpc":"2.0","id":5,"method":"ping","params":[1]}': 5,
    '{"jsonrpc":"2.0","id":5}': 5,
}


def test_what_is_no_message_is_told_its_form_under_its_id(post):
    for body, number in MISFORMED.items():
        answer = post(body)
        assert answer.status_code == 400, body
        said = answer.json()
        assert (said["id"], said["error"]["code"]) == (number, -32600), body
        assert "JSON-RPC 2.0" in said["error"]["message"]
        assert "pydantic" not in answer.text


def test_what_is_no_json_is_told_so(post):
    for body in (b"", b"{", b'{"a": "\xff"}', b"[" * 100_000):
        answer = post(body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32700)


def test_half_an_emoji_and_an_endless_number_spoil_no_call(post):
    assert told(post(CALL % CUT))["job"]["title"] == "\ufffd half an emoji"
    said = told(post(CALL % BEYOND))
    assert said["outcome"] == "invalid_arguments"
    assert "price_cents" in said["message"]
    said = told(post(CALL % '{"title": "Garage", "price_cents": NaN}'))
    assert "`price_cents` is nan" in said["message"], "which is not the same as not given"


def test_a_body_has_a_kind_and_a_size(post):
    for kind in ("text/plain", "application/xml", ""):
        answer = post(CALL % "{}", Content_Type=kind)
        assert answer.status_code == 415
        assert answer.headers["content-type"] == "application/problem+json"
    answer = post(CALL % f'{{"title": "{"x" * 300_000}"}}')
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"


def test_over_stdio_every_request_that_has_an_id_is_answered(database_url, tmp_path, office):
    assert office
    terminal = Terminal(database_url, tmp_path / "home")
    process = terminal.begin("mcp", "--lead", "ana-2", stdin=subprocess.PIPE)
    asked = [HELLO, READY, *MISFORMED, "garbage", "[" * 50_000, CALL % CUT, CALL % BEYOND]
    process.stdin.write("".join(f"{each}\n" for each in asked))
    process.stdin.flush()
    expected = [number for number in MISFORMED.values() if number is not None]
    answers = [json.loads(process.stdout.readline()) for _ in [HELLO, *expected, CUT, BEYOND]]
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, ""), err
    assert "Traceback" not in err
    assert answers[0]["id"] == 1
    assert [each["id"] for each in answers if "error" in each] == expected
    calls = [each["result"] for each in answers if each["id"] == 7]
    assert sorted(bool(each.get("isError")) for each in calls) == [False, True]

"""`backstory call`: a tool by hand, as the agent of a lead would call it."""

import json
from pathlib import Path

import pytest
from cli_world import LEADS
from sqlalchemy import create_engine, text

from backstory.store.engine import parse_url

LEAD = json.loads(Path(LEADS).read_text("utf-8").splitlines()[0])["id"]


@pytest.fixture
def calling(loaded):
    def call(tool, *words, **options):
        return loaded.type("call", tool, "--lead", LEAD, *words, **options)

    return call


def test_a_call_answers_and_can_be_repeated_under_its_key(calling):
    words = ("create_job", "--args", '{"title": "Garage"}', "--idempotency-key", "k-1")
    first = calling(*words, "--json")
    assert first.code == 0
    assert set(first.json) == {"tool", "outcome", "refused", "replayed", "data"}
    assert (first.json["outcome"], first.json["replayed"]) == ("created", False)
    again = calling(*words, "--json").json
    assert again["replayed"]
    assert again["data"] == first.json["data"]
    assert "answered before under this key" in calling(*words).out


def test_an_answer_is_shown_by_the_path_of_each_value(calling):
    shown = calling("create_job", "--args", '{"title": "Gar\\u001b[31mage"}')
    assert shown.code == 0
    lines = [line.split(maxsplit=1) for line in shown.out.splitlines()]
    assert ["job.title", "Garage"] in lines
    assert ["job.status", "unscheduled"] in lines
    assert max(map(len, shown.out.splitlines())) <= 80


def test_a_refusal_ends_with_findings_and_says_what_helps(calling):
    refused = calling("create_job", "--args", '{"titel": "Garage"}')
    assert refused.code == 1
    assert "`title` is missing" in " ".join(refused.out.split())
    assert calling("create_job", "--json").json["refused"]
    assert calling("open_sesame").code == 1


def test_arguments_are_read_from_standard_input(calling):
    assert calling("create_job", "--args", "-", stdin='{"title": "Garage"}').code == 0


@pytest.mark.parametrize(
    "args", ["{", "[]", '"title"', "null", "", "[" * 60_000, f'{{"title": {"9" * 5_000}}}']
)
def test_arguments_that_are_no_object_are_a_wrong_request(calling, args):
    wrong = calling("create_job", "--args", args)
    assert (wrong.code, wrong.out) == (2, "")
    assert "--args is" in wrong.err


def test_memory_is_there_when_it_is_switched_on(calling, loaded):
    asked = ("memory_fetch_candidates", "--args", '{"query": "gate code"}', "--json")
    assert calling(*asked).json["outcome"] == "unknown_tool"
    loaded.env["CONTEXT_MEMORY_ENABLED"] = "true"
    assert calling(*asked).json["data"]["candidates"]


def test_a_call_by_hand_is_written_down_as_an_operator_s(calling, loaded):
    calling("create_job", "--args", '{"title": "Garage"}')
    engine = create_engine(parse_url(loaded.env["DATABASE_URL"]))
    with engine.connect() as connection:
        query = "SELECT tool, actor, outcome FROM backstory.tool_calls"
        calls = [tuple(row) for row in connection.execute(text(query))]
    engine.dispose()
    assert calls == [("create_job", "operator", "created")]

"""Whatever a session is called with, the agent is answered in words, and it is written down."""

import pytest
from sqlalchemy import text

ENDLESS = 10**6_000  # Python refuses to write it


@pytest.mark.parametrize(
    "arguments",
    [
        None,
        ["title"],
        "title",
        {},
        {ENDLESS: 1},
        {"title": ENDLESS},
        {"title": [ENDLESS]},
        {"title": [[[{"a\0": ENDLESS}]]]},
        {"title": float("inf")},
        {"title": "a\0b"},
        {"title": ["a\0b"]},
        {"title": "\ud800bc"},
        {"title\0": "\ud800", "\ud800": 1},
        {"x" * 100_000: 1},
        {"title": "x" * 1_000_000},
        {str(number): number for number in range(10_000)},
    ],
)
def test_arguments_that_make_no_sense_are_refused_and_written_down(ana, arguments):
    answer = ana.call("create_job", arguments)
    assert answer.refused
    assert answer.outcome == "invalid_arguments"
    assert answer.data["message"]
    with ana.database.engine.connect() as connection:
        calls = connection.execute(text("SELECT tool, outcome FROM tool_calls")).all()
    assert [tuple(call) for call in calls] == [("create_job", "invalid_arguments")]

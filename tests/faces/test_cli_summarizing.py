"""`summarize`: planned, done, repeated, resumed in words, taken back; with a model that is away."""

import socket

from backstory.memory.summary_writers import Extractive

LEAD = "e818914c-6e76-545b-8bd7-c36b3bca9f8b"


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def summary(terminal, lead=LEAD):
    return terminal.type("conversation", lead, "--json").json["conversation"]["summary"]


def test_what_is_planned_is_done_once_and_can_be_taken_back(loaded):
    plan = loaded.type("summarize", "--dry-run", "--json").json
    assert plan == {"made_by": "extractive-1", "conversations": 3, "pending": 3}
    assert summary(loaded) is None
    done = loaded.type("summarize")
    assert done.code == 0
    assert "3 of 3 conversations" in done.out
    told = summary(loaded)
    assert "booked for Saturday, January 17" in told
    assert "in short" in loaded.type("conversation", LEAD).out
    again = loaded.type("summarize", "--json")
    assert (again.code, again.json["written"]) == (0, 0)
    assert summary(loaded) == told
    assert "sums conversations up" in loaded.type("runs", "last").out
    assert loaded.type("verify").code == 0
    first = loaded.type("runs", "--json").json["runs"][1]
    assert (first["mode"], first["status"]) == ("summarize", "done")
    foretold = loaded.type("rollback", first["run_id"], "--dry-run", "--json").json
    assert foretold["removed"] == {"conversation_summaries": 3}
    assert summary(loaded) == told
    assert loaded.type("rollback", first["run_id"]).code == 0
    assert summary(loaded) is None


def test_what_a_run_replaced_comes_back_and_that_is_told(loaded, monkeypatch):
    loaded.type("summarize")
    told = summary(loaded)
    monkeypatch.setattr(Extractive, "name", "extractive-next")
    assert loaded.type("summarize", "--json").json["written"] == 3
    foretold = loaded.type("rollback", "last", "--dry-run", "--json").json
    assert foretold["removed"] == {"conversation_summaries": 0}
    assert foretold["restored"] == {"conversation_summaries": 3}
    assert "0 go, 3 become what they were before" in loaded.type("rollback", "last").out
    assert summary(loaded) == told


def test_one_lead_alone_is_summed_up(loaded):
    assert loaded.type("summarize", LEAD, "--json").json["written"] == 1
    assert summary(loaded)
    assert summary(loaded, "f17747ee-2c15-53aa-9840-b6f149dcbde5") is None
    wrong = loaded.type("summarize", "nobody")
    assert wrong.code == 2
    assert "nobody" in wrong.err


def test_a_model_that_is_away_is_told_of_and_the_summaries_are_there(loaded):
    url = f"http://127.0.0.1:{free_port()}/v1"
    done = loaded.type("summarize", "--url", url, "--model", "m", "--calls", "1")
    assert done.code == 1
    assert "127.0.0.1 does not answer now" in done.out
    assert "The budget of 1 calls is spent." in done.out
    assert summary(loaded).startswith("Customer: ")
    half = loaded.type("summarize", "--url", url)
    assert half.code == 2
    assert "--model" in half.err

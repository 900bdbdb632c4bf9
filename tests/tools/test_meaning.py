"""An agent's session heeds what messages mean where a model serves, and does without where not."""

import logging
from datetime import timedelta

import pytest
from tiny_model import TOPICS, make_model
from tools_world import NOON, Clock, event, told

from backstory.live.record import record_events
from backstory.memory import ranking
from backstory.search import embed_run
from backstory.search.embed import (
    MISSING_SECONDS,
    MODELS,
    EmbeddingSettings,
    FoundOnce,
    open_embedder,
)
from backstory.tools.session import Rules, open_session

QUESTION = "Which vehicle will you bring?"
SAID = "It was the blue van again"


@pytest.fixture
def home(tmp_path):
    make_model(tmp_path / MODELS / "tiny")
    return tmp_path


@pytest.fixture
def embedded(database, home):
    """A database in which Ana's messages have been embedded; none has a word of the question."""
    long_ago = NOON - timedelta(days=60)
    said = [SAID, "Nice to hear from you", "Rain all day here"]
    record_events(
        database,
        [
            event(f"v{number}", "ana-2", each, at=long_ago + timedelta(minutes=number))
            for number, each in enumerate(said)
        ],
    )
    embed_run.start(database, home, model_of(home, "tiny"))
    return database


def model_of(home, name):
    return FoundOnce(EmbeddingSettings(name), home).named(named(home, name))


def named(home, name):
    return open_embedder(EmbeddingSettings(name), home).name


def agent(database, embedders):
    rules = Rules(memory_enabled=True, embedders=embedders, clock=Clock())
    return open_session(database, "ana-2", rules=rules)


def candidates(session, question=QUESTION):
    found = told(session, "memory_fetch_candidates", query=question)["candidates"]
    return [each for each in found if each["source"] == "message"]


def test_what_words_miss_is_found_by_meaning(embedded, home):
    assert candidates(agent(embedded, None)) == []
    best = candidates(agent(embedded, FoundOnce(EmbeddingSettings("tiny"), home)))[0]
    assert SAID in best["summary"]
    assert best["why"].startswith("near in meaning")


def test_a_context_pack_is_chosen_by_meaning_too(embedded, home):
    def said(embedders):
        pack = agent(embedded, embedders).context(QUESTION)
        return [line.text for line in pack.lines if line.source == "message" and line.shown]

    assert not any(SAID in line for line in said(None))
    assert any(SAID in line for line in said(FoundOnce(EmbeddingSettings("tiny"), home)))


def test_a_model_that_is_gone_leaves_the_words_and_is_told_once(embedded, tmp_path, caplog):
    ranking._warn.cache_clear()
    session = agent(embedded, FoundOnce(EmbeddingSettings("tiny"), tmp_path / "elsewhere"))
    with caplog.at_level(logging.WARNING, "backstory.memory"):
        for _ in range(2):
            assert SAID in candidates(session, "the blue van")[0]["summary"]
            assert candidates(session) == []
    (warning,) = caplog.messages
    assert "not to be had" in warning
    assert "backstory model install" in warning


def test_a_model_that_is_damaged_leaves_the_words(embedded, home, caplog):
    ranking._warn.cache_clear()
    loaded = FoundOnce(EmbeddingSettings("tiny"), home)
    assert loaded.named(named(home, "tiny")) is not None
    (home / MODELS / "tiny" / "tokenizer.json").write_text("{}", encoding="utf-8")
    with caplog.at_level(logging.WARNING, "backstory.memory"):
        assert candidates(agent(embedded, loaded)) == []
    assert "no tokenizer" in caplog.text


def test_where_nothing_is_embedded_nothing_is_missed(database, home, caplog):
    ranking._warn.cache_clear()
    with caplog.at_level(logging.WARNING, "backstory.memory"):
        candidates(agent(database, FoundOnce(EmbeddingSettings("tiny"), home)))
    assert caplog.messages == []


def test_the_model_that_serves_now_is_the_one_that_is_asked(embedded, home):
    """A session outlives a change of models."""
    session = agent(embedded, FoundOnce(EmbeddingSettings("tiny"), home))
    assert candidates(session)
    make_model(home / MODELS / "other", topics=TOPICS[:3])
    embed_run.start(embedded, home, model_of(home, "other"))
    assert SAID in candidates(session)[0]["summary"]


def test_a_model_is_loaded_once_and_looked_for_again_later(home):
    seconds = [0.0]
    found = FoundOnce(EmbeddingSettings("late"), home, ticks=lambda: seconds[0])
    make_model(home / MODELS / "late", topics=TOPICS[:2])
    name = named(home, "late")
    (home / MODELS / "late").rename(home / "away")
    assert found.named(name) is None
    (home / "away").rename(home / MODELS / "late")
    assert found.named(name) is None
    seconds[0] += MISSING_SECONDS
    assert found.named(name) is not None
    assert found.named(name) is found.named(name)

"""Embedding as a run: planned, repeated, stopped, resumed, taken back; one model after another."""

import subprocess
import sys
import threading
import time
import uuid

import pytest
from search_world import NOON, add_lead, say
from sqlalchemy import text
from tiny_model import TOPICS, make_model
from waiting import until

from backstory.backfill import journey
from backstory.backfill.control import stop
from backstory.backfill.rollback import rollback
from backstory.errors import Interrupted, ModelError, ModelUnreachable, RunError
from backstory.memory import summaries
from backstory.memory.summary_writers import Extractive
from backstory.model import RunStatus, RunWish
from backstory.runs.claim import is_interrupted
from backstory.runs.run import get_run
from backstory.search import embed_run
from backstory.search.embed_local import LocalEmbedder
from backstory.store.embeddings import models, serving_model
from backstory.store.engine import Database

SCHEMA = "backstory"
MESSAGES = 300


@pytest.fixture
def database(database_url):
    database = Database.open(database_url, SCHEMA)
    with database.engine.begin() as connection:
        add_lead(connection, "ann")
        add_lead(connection, "bob")
        say(connection, "ann", *(f"the dog and number {n}" for n in range(MESSAGES - 2)))
        say(connection, "bob", "A van.", "Look!", attachment_text="photo of a storm", author="Bob")
        say(connection, "bob", '{"event":"no words"}', kind="event")
    yield database
    database.engine.dispose()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return LocalEmbedder(make_model(tmp_path_factory.mktemp("models") / "tiny"))


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    return LocalEmbedder(make_model(tmp_path_factory.mktemp("models") / "new", topics=TOPICS[:3]))


class Failing:
    """An embedder that does what it must after so many calls."""

    def __init__(self, model, calls, then):
        self.model, self.calls, self.then = model, calls, then
        self.name, self.dimensions = model.name, model.dimensions

    def embed(self, texts, *, asking=False):
        self.calls -= 1
        if self.calls < 0:
            self.then()
        return self.model.embed(texts, asking=asking)


def query(database, statement, **values):
    with database.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement), values)]


def vectors(database):
    rows = query(database, "SELECT message_id, model, vector::text FROM embeddings ORDER BY 1, 2")
    assert len(set(rows)) == len(rows)
    return rows


def serving(database):
    with database.engine.connect() as connection:
        model = serving_model(connection)
    return model and model.name


def test_every_message_with_words_is_embedded_once(database, tmp_path, tiny):
    with database.engine.connect() as connection:
        plan = embed_run.plan(connection, tiny)
    assert (plan.messages, plan.pending, plan.serving) == (MESSAGES, MESSAGES, None)
    report = embed_run.start(database, tmp_path, tiny)
    assert (report.embedded, report.messages) == (MESSAGES, MESSAGES)
    first = vectors(database)
    assert len(first) == MESSAGES
    assert serving(database) == tiny.name
    again = embed_run.start(database, tmp_path, tiny)
    assert again.embedded == 0
    assert vectors(database) == first


def test_what_came_since_is_embedded_by_the_next_run(database, tmp_path, tiny):
    embed_run.start(database, tmp_path, tiny)
    with database.engine.begin() as connection:
        say(connection, "bob", "Rain again.", at=NOON.replace(day=9))
    assert embed_run.start(database, tmp_path, tiny).embedded == 1
    assert len(vectors(database)) == MESSAGES + 1


def test_a_message_that_says_something_else_now_is_embedded_anew(database, tmp_path, tiny):
    embed_run.start(database, tmp_path, tiny)
    before = {row[0]: row[2] for row in vectors(database)}
    with database.engine.begin() as connection:
        connection.execute(
            text("UPDATE messages SET content = 'The gate.' WHERE content = 'A van.'")
        )
    assert embed_run.start(database, tmp_path, tiny).embedded == 1
    changed = [row for row in vectors(database) if before[row[0]] != row[2]]
    assert len(changed) == 1


def test_author_and_captions_are_part_of_what_is_embedded(database, tmp_path, tiny):
    embed_run.start(database, tmp_path, tiny)
    statement = """
        SELECT m.content FROM embeddings e JOIN messages m ON m.id = e.message_id
        ORDER BY e.vector <=> CAST(:storm AS halfvec) LIMIT 1
    """
    storm = str(tiny.embed(["storm"])[0])
    assert query(database, statement, storm=storm) == [("Look!",)]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupted_run_goes_on_where_it_was(database, tmp_path, tiny, workers):
    def unreachable():
        raise ModelUnreachable("gone")

    with pytest.raises(ModelUnreachable):
        embed_run.start(database, tmp_path, Failing(tiny, 1, unreachable), workers=workers)
    with database.engine.connect() as connection:
        run = get_run(connection, "last")
    assert run.status is RunStatus.FAILED
    assert len(vectors(database)) == embed_run.BATCH
    slow = Failing(tiny, 0, lambda: time.sleep(0.3))
    with pytest.raises(Interrupted):
        embed_run.resume(database, "last", slow, interrupted_at(1), workers=workers)
    assert embed_run.BATCH <= len(vectors(database)) < MESSAGES
    assert serving(database) is None
    report = embed_run.resume(database, "last", tiny, workers=workers)
    assert report.run_id == str(run.id)
    assert report.embedded == len(vectors(database)) == MESSAGES


def interrupted_at(done):
    """A listener that behaves as Ctrl-C does once so many are done."""

    def listen(progress):
        if progress.step == "embed" and progress.done >= done:
            raise KeyboardInterrupt

    return listen


KILLABLE = """
import sys, time
from pathlib import Path
from backstory.search import embed_run
from backstory.search.embed_local import LocalEmbedder
from backstory.store.engine import Database

url, home, model = sys.argv[1:]

class Stuck(LocalEmbedder):
    calls = 0

    def embed(self, texts, *, asking=False):
        if len(texts) > 1:
            self.calls += 1
        if self.calls == 2:
            time.sleep(600)
        return super().embed(texts, asking=asking)

embed_run.start(Database.open(url, "backstory"), Path(home), Stuck(Path(model)))
"""


def test_a_run_that_is_killed_goes_on_where_it_was(database, tmp_path, tiny, database_url):
    """In its second batch, without a word; what is committed stays, and nothing comes twice."""
    model = tiny._directory
    process = subprocess.Popen([sys.executable, "-c", KILLABLE, database_url, tmp_path, model])
    try:
        until(lambda: process.poll() is not None or len(vectors(database)) >= embed_run.BATCH)
    finally:
        process.kill()
        process.wait()
    kept = vectors(database)
    assert len(kept) == embed_run.BATCH
    assert serving(database) is None
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        run = get_run(connection, "last")
        assert run.status is RunStatus.RUNNING
        until(lambda: is_interrupted(connection, run))
    report = embed_run.resume(database, "last", tiny)
    assert (report.run_id, report.embedded) == (str(run.id), MESSAGES)
    found = vectors(database)
    assert set(kept) < set(found)
    assert len(found) == MESSAGES
    assert serving(database) == tiny.name


def test_a_batch_that_takes_its_time_keeps_its_claim(database, tmp_path, tiny, monkeypatch):
    """A lease of 30 seconds is renewed while the model is at a batch of long texts."""
    monkeypatch.setattr(embed_run, "_RENEW_SECONDS", 0.05)
    renewed = []
    keep = embed_run.renew
    monkeypatch.setattr(embed_run, "renew", lambda *given: renewed.append(1) or keep(*given))
    embed_run.start(database, tmp_path, Failing(tiny, 0, lambda: time.sleep(0.5)))
    # One for each of three reads; the others while it waited.
    assert len(renewed) > 6


def test_a_run_hears_that_it_shall_pause(database, tmp_path, tiny):
    asking = threading.Thread(target=stop, args=(database, "last", RunWish.PAUSE))

    def pause():
        """Hold the first batch until the wish stands: the run looks for one at its next batch."""
        if asking.ident:
            return
        asking.start()
        with database.engine.connect() as connection:
            until(lambda: get_run(connection, "last").wish is not None)

    with pytest.raises(Interrupted, match="pause"):
        embed_run.start(database, tmp_path, Failing(tiny, 0, pause))
    asking.join()
    with database.engine.connect() as connection:
        assert get_run(connection, "last").status is RunStatus.PAUSED
    assert embed_run.resume(database, "last", tiny).embedded == MESSAGES


def test_a_run_goes_on_with_its_own_model_only(database, tmp_path, tiny, other):
    with pytest.raises(Interrupted):
        embed_run.start(database, tmp_path, tiny, interrupted_at(0))
    with pytest.raises(RunError, match=tiny.name):
        embed_run.resume(database, "last", other)


def test_the_old_model_serves_until_the_new_one_is_complete(database, tmp_path, tiny, other):
    embed_run.start(database, tmp_path, tiny)
    with pytest.raises(Interrupted):
        embed_run.start(database, tmp_path, other, interrupted_at(1))
    assert serving(database) == tiny.name
    embed_run.resume(database, "last", other)
    assert serving(database) == other.name
    assert len(vectors(database)) == 2 * MESSAGES
    embed_run.rollback(database, "last")
    assert serving(database) == tiny.name
    assert len(vectors(database)) == MESSAGES


def test_a_rollback_takes_exactly_what_a_run_embedded(database, tmp_path, tiny):
    first = embed_run.start(database, tmp_path, tiny)
    kept = vectors(database)
    with database.engine.begin() as connection:
        say(connection, "bob", "Rain again.", at=NOON.replace(day=9))
    embed_run.start(database, tmp_path, tiny)
    assert embed_run.rollback(database, "last") == 1
    assert vectors(database) == kept
    assert serving(database) == tiny.name
    assert embed_run.rollback(database, first.run_id) == MESSAGES
    assert vectors(database) == []
    with database.engine.connect() as connection:
        assert models(connection) == []
    indexes = "SELECT FROM pg_indexes WHERE tablename = 'embeddings' AND indexname LIKE '%hnsw'"
    assert query(database, indexes) == []
    assert len(query(database, "SELECT FROM audit_log WHERE action = 'rollback_embed'")) == 2
    with pytest.raises(RunError):
        embed_run.rollback(database, first.run_id)


def test_a_rollback_lets_the_model_serve_that_served_before(database, tmp_path, tiny, other):
    first = embed_run.start(database, tmp_path, tiny)
    embed_run.start(database, tmp_path, other)
    with database.engine.begin() as connection:
        say(connection, "bob", "Rain again.", at=NOON.replace(day=9))
    second, third = (embed_run.start(database, tmp_path, tiny) for _ in range(2))
    assert serving(database) == tiny.name
    embed_run.rollback(database, third.run_id)
    # The run before it had let it serve again, too.
    assert serving(database) == tiny.name
    embed_run.rollback(database, second.run_id)
    assert serving(database) == other.name
    with database.engine.connect() as connection:
        assert {model.name: model.complete for model in models(connection)} == {
            tiny.name: True,
            other.name: True,
        }
    embed_run.rollback(database, first.run_id)
    assert serving(database) == other.name


def test_a_rollback_of_an_earlier_run_leaves_the_model_that_serves(database, tmp_path, tiny, other):
    embed_run.start(database, tmp_path, tiny)
    again = embed_run.start(database, tmp_path, tiny)
    embed_run.start(database, tmp_path, other)
    embed_run.start(database, tmp_path, tiny)
    embed_run.rollback(database, again.run_id)
    assert serving(database) == tiny.name


def test_a_run_of_another_kind_neither_goes_on_nor_back_as_this_one(database, tmp_path, tiny):
    """Each kind knows its own rows: another's way back would only say that it had gone."""
    embed_run.start(database, tmp_path, tiny)
    before = vectors(database)
    for attempt in (
        lambda: rollback(database, "last"),
        lambda: journey.resume(database, "last"),
        lambda: summaries.rollback(database, "last"),
        lambda: summaries.resume(database, "last", Extractive()),
    ):
        with pytest.raises(RunError, match="a run of embed, not of"):
            attempt()
    assert vectors(database) == before
    assert serving(database) == tiny.name


class OfLength(Failing):
    """A model of a name whose vectors have another length than before."""

    def __init__(self, model, dimensions, calls=1000):
        def fail():
            raise ModelUnreachable("gone")

        super().__init__(model, calls, fail)
        self.dimensions = dimensions

    def embed(self, texts, *, asking=False):
        super().embed(texts, asking=asking)
        return [[1.0] * self.dimensions for _ in texts]


def test_a_name_under_which_nothing_is_stored_is_free(database, tmp_path, tiny):
    with pytest.raises(ModelUnreachable):
        embed_run.start(database, tmp_path, OfLength(tiny, 9, calls=0))
    assert vectors(database) == []
    done = embed_run.start(database, tmp_path, tiny)
    assert serving(database) == tiny.name
    with pytest.raises(
        RunError, match=f"now has 9 dimensions, its stored vectors {tiny.dimensions}"
    ):
        embed_run.start(database, tmp_path, OfLength(tiny, 9))
    # It serves without a vector, with an index for the length it had.
    with database.engine.begin() as connection:
        connection.execute(text("DELETE FROM embeddings"))
    embed_run.start(database, tmp_path, OfLength(tiny, 9))
    assert serving(database) == tiny.name
    embed_run.rollback(database, done.run_id)
    assert serving(database) == tiny.name


def test_a_model_that_changes_its_length_on_the_way_ends_the_run(database, tmp_path, tiny):
    changing = OfLength(tiny, 9)
    changing.then = lambda: setattr(changing, "embed", lambda texts: [[1.0] * 8 for _ in texts])
    changing.calls = 0
    with pytest.raises(ModelError, match="began with 9 dimensions and gave a vector of 8"):
        embed_run.start(database, tmp_path, changing)
    assert serving(database) is None


def test_a_message_that_goes_takes_its_vector_along(database, tmp_path, tiny):
    embed_run.start(database, tmp_path, tiny)
    with database.engine.begin() as connection:
        connection.execute(text("DELETE FROM messages WHERE content = 'A van.'"))
    assert len(vectors(database)) == MESSAGES - 1


def test_a_customer_who_is_merged_keeps_the_vectors(database, tmp_path, tiny):
    embed_run.start(database, tmp_path, tiny)
    with database.engine.begin() as connection:
        connection.execute(
            text("UPDATE leads SET customer_id = (SELECT customer_id FROM leads WHERE "
                 "external_id = 'ann') WHERE external_id = 'bob'")
        )  # fmt: skip
    astray = """
        SELECT FROM embeddings e JOIN messages m ON m.id = e.message_id
        WHERE e.customer_id <> m.customer_id
    """
    assert query(database, astray) == []
    assert len(query(database, "SELECT DISTINCT customer_id FROM embeddings")) == 1


def test_the_same_run_cannot_be_worked_on_twice(database, tmp_path, tiny):
    def work_on_it_too():
        with pytest.raises(RunError, match="another process"):
            embed_run.resume(database, "last", tiny)

    assert embed_run.start(database, tmp_path, Failing(tiny, 1, work_on_it_too)).embedded


def test_a_run_tells_how_far_it_is_and_leaves_a_trace(database, tmp_path, tiny):
    told = []
    report = embed_run.start(database, tmp_path, tiny, told.append)
    embedding = [each for each in told if each.step == "embed"]
    assert (embedding[-1].done, embedding[-1].total) == (MESSAGES, MESSAGES)
    (payload,) = query(
        database, "SELECT payload->>'model' FROM audit_log WHERE action = 'embed_messages'"
    )
    assert payload == (tiny.name,)
    assert uuid.UUID(report.run_id)

"""Search and recall by meaning: what words alone would miss, behind every filter."""

from datetime import timedelta
from random import Random

import pytest
from search_world import NOON, add_lead, say
from sqlalchemy import text
from tiny_model import TOPICS, make_model

from backstory.errors import ModelUnreachable, Unanswerable, UsageError
from backstory.model import Channel, MessageKind, Role, SearchMode
from backstory.search import embed_run
from backstory.search.embed_local import LocalEmbedder
from backstory.search.recall import LARGE, recall
from backstory.search.semantic import search
from backstory.search.text import SearchQuery
from backstory.store import embeddings
from backstory.store.engine import Database
from backstory.store.statements import sql

BOTH = (SearchMode.SEMANTIC, SearchMode.HYBRID)
TALK = ("Nice to hear from you.", "The van is blue.", "Bring the terrier.", "It was wet.", "Bye.")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return LocalEmbedder(make_model(tmp_path_factory.mktemp("models") / "tiny"))


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    return LocalEmbedder(make_model(tmp_path_factory.mktemp("models") / "new", topics=TOPICS[:3]))


@pytest.fixture
def database(database_url):
    database = Database.open(database_url, "backstory")
    yield database
    database.engine.dispose()


@pytest.fixture
def world(database, tmp_path, tiny):
    """Two customers; return the database and the first one's id."""
    with database.engine.begin() as connection:
        ann = add_lead(connection, "ann")
        add_lead(connection, "bob", channel="sms")
        say(connection, "ann", *TALK)
        say(connection, "bob", *TALK, at=NOON + timedelta(days=1), role="assistant")
    embed_run.start(database, tmp_path, tiny)
    return database, ann


def ask(database, text_, mode, embedder, **given):
    with database.engine.connect() as connection:
        return search(connection, SearchQuery(text_, **given), mode=mode, embedder=embedder)


def contents(answer):
    return [hit.snippet_plain() for hit in answer.hits]


# --- recall ----------------------------------------------------------------------------------


def test_recall_finds_what_is_meant_and_not_said(world, tiny):
    database, ann = world
    with database.engine.connect() as connection:
        by_words = recall(connection, ann, "which vehicle?")
        by_both = recall(connection, ann, "which vehicle?", embedder=tiny)
    assert by_words.hits == ()
    assert by_words.mode is SearchMode.TEXT
    assert by_both.mode is SearchMode.HYBRID
    assert by_both.hits[0].content == "The van is blue."
    assert by_both.hits[0].parts["meaning"] > 0
    assert by_both.hits[0].score == pytest.approx(sum(by_both.hits[0].parts.values()))


def test_recall_by_meaning_alone_heeds_no_word(world, tiny):
    database, ann = world
    with database.engine.connect() as connection:
        given = {"embedder": tiny, "mode": SearchMode.SEMANTIC}
        hit = recall(connection, ann, "Bring the vehicle", **given).hits[0]
    assert hit.content == "The van is blue."
    assert not hit.parts.keys() & {"words", "nearby", "answer", "topic"}


def test_a_message_that_is_not_embedded_yet_is_found_by_words(world, tiny):
    database, ann = world
    with database.engine.begin() as connection:
        say(connection, "ann", "The gutter leaks.", at=NOON + timedelta(days=3))
    with database.engine.connect() as connection:
        hit = recall(connection, ann, "leaking gutter", embedder=tiny).hits[0]
    assert hit.content == "The gutter leaks."


def test_a_very_large_customer_is_asked_for_meaning_too(database, tmp_path, tiny):
    with database.engine.begin() as connection:
        ann = add_lead(connection, "ann")
        filler = [f"Nothing but item{n}, again." for n in range(LARGE)]
        say(connection, "ann", *filler, at=NOON - timedelta(days=90))
        say(connection, "ann", *TALK)
    embed_run.start(database, tmp_path, tiny)
    with database.engine.connect() as connection:
        found = recall(connection, ann, "which vehicle?", embedder=tiny)
    assert found.ranked == LARGE + len(TALK)
    assert found.hits[0].content == "The van is blue."


def test_the_vectors_of_another_model_are_not_mixed_in(world, other, tiny):
    database, ann = world
    with database.engine.connect() as connection:
        found = recall(connection, ann, "which vehicle?", embedder=other)
        assert found.mode is SearchMode.TEXT
        assert tiny.name in (found.note or "")
        with pytest.raises(UsageError, match=other.name):
            recall(connection, ann, "which vehicle?", embedder=other, mode=SearchMode.HYBRID)


class Silent:
    """A service that is away."""

    def __init__(self, model):
        self.name, self.dimensions = model.name, model.dimensions

    def embed(self, texts, *, asking=False):
        del texts, asking
        raise ModelUnreachable("api.example.com does not embed now")


def test_a_service_that_is_away_leaves_the_words(world, tiny):
    database, ann = world
    with database.engine.connect() as connection:
        found = recall(connection, ann, "blue", embedder=Silent(tiny))
        assert (found.mode, found.hits[0].content) == (SearchMode.TEXT, "The van is blue.")
        assert "does not embed now" in (found.note or "")
        with pytest.raises(ModelUnreachable):
            recall(connection, ann, "blue", embedder=Silent(tiny), mode=SearchMode.SEMANTIC)


class Grown:
    """A service whose model has more dimensions than it had."""

    def __init__(self, model):
        self.name, self.dimensions = model.name, model.dimensions + 4

    def embed(self, texts, *, asking=False):
        del asking
        return [[1.0] * self.dimensions for _ in texts]


def test_a_model_that_changed_its_dimensions_leaves_the_words(world, tiny):
    database, ann = world
    with database.engine.connect() as connection:
        found = recall(connection, ann, "blue", embedder=Grown(tiny))
        assert (found.mode, found.hits[0].content) == (SearchMode.TEXT, "The van is blue.")
        said = f"now answers with {tiny.dimensions + 4} dimensions, its stored vectors have"
        assert said in (found.note or "")
        assert "backstory embed" in (found.note or "")
    for mode in BOTH:
        with pytest.raises(UsageError, match=said):
            ask(database, "blue", mode, Grown(tiny))


def test_an_agent_sees_meaning_under_its_own_role_only(world, tiny):
    database, ann = world
    with database.engine.connect() as connection:
        bob = connection.execute(
            text("SELECT customer_id FROM leads WHERE external_id = 'bob'")
        ).scalar_one()
        connection.execute(
            text("SELECT set_config('backstory.customer_id', :ann, true), "
                 "set_config('role', 'backstory_agent', true)"), {"ann": str(ann)}
        )  # fmt: skip
        own = recall(connection, ann, "which vehicle?", embedder=tiny)
        foreign = recall(connection, bob, "which vehicle?", embedder=tiny)
        seen = connection.execute(text("SELECT count(*) FROM embeddings")).scalar_one()
    assert own.hits[0].content == "The van is blue."
    assert own.mode is SearchMode.HYBRID
    assert (foreign.hits, foreign.ranked) == ((), 0)
    assert seen == len(TALK)


# --- the whole business ------------------------------------------------------------------------


@pytest.mark.parametrize("mode", BOTH)
def test_a_search_finds_what_is_meant_and_not_said(world, tiny, mode):
    database, _ = world
    answer = ask(database, "vehicle", mode, tiny, limit=2)
    assert contents(answer) == ["The van is blue."] * 2
    assert answer.hits[0].score >= answer.hits[1].score
    assert answer.next is None
    assert contents(ask(database, "vehicle", SearchMode.TEXT, None)) == []


def test_words_and_meaning_add_up(world, tiny):
    database, _ = world
    with database.engine.begin() as connection:
        say(connection, "ann", "The vehicle, no doubt.", at=NOON + timedelta(days=4))
    answer = ask(database, "vehicle", SearchMode.HYBRID, tiny, limit=3)
    # It is not embedded yet: the word alone has to bring it in.
    assert "The vehicle, no doubt." in contents(ask(database, "vehicle", SearchMode.HYBRID, tiny))
    assert contents(answer)[:2] == ["The van is blue."] * 2


@pytest.mark.parametrize("mode", BOTH)
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"role": Role.USER}, 1),
        ({"channel": Channel.SMS}, 1),
        ({"lead": "ann"}, 1),
        ({"since": NOON + timedelta(hours=20)}, 1),
        ({"until": NOON + timedelta(hours=20)}, 1),
        ({"role": Role.TOOL}, 0),
        ({}, 2),
    ],
)
def test_filters_hold_by_meaning_too(world, tiny, mode, given, expected):
    database, _ = world
    found = contents(ask(database, "vehicle", mode, tiny, **given))
    assert found.count("The van is blue.") == expected


@pytest.mark.parametrize("mode", BOTH)
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("vehicle -blue", {"A red car."}),
        ("vehicle - blue -terrier", {"A red car."}),
        ('vehicle -"is blue"', {"A red car."}),
        ('"the van" vehicle', {"The van is blue."}),
        ('"red car', {"A red car."}),
        ('"red car" -red', set()),
        ("blue -the", {"The van is blue.", "A red car."}),
        ('"red car" or "van is"', {"The van is blue.", "A red car."}),
        ('"red car" or vehicle', {"The van is blue.", "A red car."}),
    ],
)
def test_what_is_excluded_or_quoted_holds_by_meaning_too(
    database, tmp_path, tiny, *, mode, query, expected
):
    with database.engine.begin() as connection:
        add_lead(connection, "ann")
        say(connection, "ann", "The van is blue.", "A red car.")
    embed_run.start(database, tmp_path, tiny)
    answer = ask(database, query, mode, tiny)
    assert set(contents(answer)) == expected
    assert ("What is quoted" in (answer.note or "")) == (" or vehicle" not in query)


@pytest.mark.parametrize("mode", BOTH)
def test_of_what_is_not_excluded_as_many_come_as_there_are(database, tmp_path, tiny, mode):
    """The nearest hundreds are excluded: the index alone would come back with too few."""
    with database.engine.begin() as connection:
        add_lead(connection, "crowd")
        add_lead(connection, "few")
        say(connection, "crowd", *(f"van refund truck car {some_words(n, 3)}" for n in range(800)))
        say(connection, "few", *(f"rain lost luggage {some_words(n, 2)}" for n in range(12)))
    embed_run.start(database, tmp_path, tiny)
    for query in ("vehicle -refund", '"lost luggage" vehicle -refund'):
        answer = ask(database, query, mode, tiny, limit=20)
        assert len(answer.hits) == 12
        assert all("lost luggage" in each for each in contents(answer))


@pytest.mark.parametrize("mode", BOTH)
def test_a_query_that_only_excludes_is_refused(world, tiny, mode):
    database, _ = world
    with pytest.raises(Unanswerable, match="only what to leave out"):
        ask(database, "-vehicle", mode, tiny)


def test_what_is_excluded_is_not_meant(world, tiny):
    database, _ = world
    asked = []

    class Listening(Grown):
        def __init__(self, model):
            self.name, self.dimensions = model.name, model.dimensions

        def embed(self, texts, *, asking=False):
            asked.extend(texts)
            return super().embed(texts, asking=asking)

    ask(database, '"the van" -storm or blue', SearchMode.HYBRID, Listening(tiny))
    assert asked == ["the van blue"]


def test_that_events_have_no_vectors_is_told(world, tiny):
    database, _ = world
    with database.engine.begin() as connection:
        say(connection, "ann", '{"event":"van sold"}', kind="event")
    none = ask(database, "van", SearchMode.SEMANTIC, tiny, kind=MessageKind.EVENT)
    assert none.hits == ()
    assert "not embedded" in (none.note or "")
    assert "--mode text" in (none.note or "")
    found = ask(database, "van", SearchMode.HYBRID, tiny, kind=MessageKind.EVENT)
    assert len(found.hits) == 1
    assert "by their words alone" in (found.note or "")


def test_a_filter_that_leaves_little_leaves_all_of_it(database, tmp_path, tiny):
    """An approximate index that is asked for the nearest ten finds none of the few that pass."""
    with database.engine.begin() as connection:
        add_lead(connection, "crowd")
        add_lead(connection, "few", channel="sms")
        say(connection, "crowd", *("van truck car " + some_words(n, 5) for n in range(3000)))
        say(connection, "few", *("rain storm wet car " + some_words(n, 2) for n in range(12)))
    embed_run.start(database, tmp_path, tiny)
    with database.engine.connect() as connection:
        plain = connection.execute(
            text("SELECT count(*) FROM messages m JOIN conversations c ON c.id = m.conversation_id "
                 "WHERE c.channel = 'sms'")
        ).scalar_one()  # fmt: skip
    answer = ask(database, "vehicle", SearchMode.SEMANTIC, tiny, channel=Channel.SMS, limit=12)
    assert len(answer.hits) == plain == 12
    assert {hit.channel for hit in answer.hits} == {Channel.SMS}
    # The index itself brings them, going on until enough has passed; as it comes, it would not.
    assert through_the_index(database, tiny, tuned=False) < 12
    assert through_the_index(database, tiny, tuned=True) >= 10


def some_words(number, count):
    """Words of any topics, so that hardly two messages mean the same."""
    words = [word for topic in TOPICS for word in topic]
    return " ".join(Random(number).choices(words, k=count))


def through_the_index(database, model, *, tuned):
    """How many of the twelve the index alone brings, behind the filter."""
    asked = dict.fromkeys(("role", "kind", "since", "until", "demanded")) | {
        "model": model.name,
        "channel": "sms",
        "limit": 12,
        "vector": embeddings.as_halfvec(model.embed(["vehicle"])[0]),
    }
    statement = embeddings._by_index(model.dimensions)
    with database.engine.connect() as connection:
        for way in ("seqscan", "bitmapscan", "sort", "hashjoin", "mergejoin"):
            connection.execute(text(f"SET LOCAL enable_{way} = off"))
        if tuned:
            connection.execute(sql("tune_for_meaning"))
        plan = "\n".join(connection.execute(text(f"EXPLAIN {statement}"), asked).scalars())
        assert embeddings.index_name(model.name) in plan
        return len(connection.execute(statement, asked).all())


def test_the_whole_business_is_asked_through_the_models_index(database, tmp_path, tiny):
    with database.engine.begin() as connection:
        add_lead(connection, "crowd")
        say(connection, "crowd", *(f"{TALK[n % 5]} item{n}" for n in range(3000)))
    embed_run.start(database, tmp_path, tiny)
    statement = str(embeddings._by_index(tiny.dimensions))
    scope = dict.fromkeys(("role", "kind", "channel", "since", "until", "demanded"))
    asked = scope | {"model": tiny.name, "limit": 10, "vector": str(tiny.embed(["van"])[0])}
    with database.engine.connect() as connection:
        plan = connection.execute(text(f"EXPLAIN {statement}"), asked).scalars().all()
    assert any(embeddings.index_name(tiny.name) in line for line in plan), "\n".join(plan)


@pytest.mark.parametrize("mode", BOTH)
def test_without_vectors_a_search_by_meaning_says_what_to_do(database, tiny, mode):
    with pytest.raises(UsageError, match="backstory embed"):
        ask(database, "vehicle", mode, tiny)
    with pytest.raises(UsageError, match="one page"):
        ask(database, "vehicle", mode, tiny, after="x")

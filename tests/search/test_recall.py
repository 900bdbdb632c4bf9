"""Recall inside one customer, on real rows: what is found first, and why."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from search_world import NOON, add_lead, say
from sqlalchemy import text

from backstory.errors import UsageError
from backstory.search.recall import LARGE, MAX_K, recall

SMALL_TALK = (
    "Good morning, thanks for calling.",
    "The weather is lovely over here.",
    "We had a busy week at the shop.",
    "Lunch was late again.",
    "See you soon then.",
)


@pytest.fixture
def joanie(connection):
    return add_lead(connection, "joanie")


def contents(recalled):
    return [hit.content for hit in recalled.hits]


def first(connection, customer, query, **given):
    return recall(connection, customer, query, **given).hits[0]


def test_the_message_with_the_rarer_word_comes_first(connection, joanie):
    say(connection, "joanie", *SMALL_TALK, "The truck is blue.", "The truck leaks coolant.")
    say(connection, "joanie", *("Our truck, again.",) * 5, at=NOON + timedelta(days=2))
    assert first(connection, joanie, "which truck leaks").content == "The truck leaks coolant."


def test_an_answer_is_found_by_the_words_of_its_question(connection, joanie):
    talk = ("Where do you keep the spare key?", "Under the blue pot.")
    say(connection, "joanie", *SMALL_TALK[:2], *talk, *SMALL_TALK[2:])
    hit = first(connection, joanie, "Where is the spare key kept?")
    assert hit.content == "Under the blue pot."
    assert {"answer", "nearby", "replies"} <= hit.parts.keys()
    assert "words" not in hit.parts


def test_neighbours_end_at_a_long_pause_and_at_another_conversation(connection, joanie):
    say(connection, "joanie", "Do you repair hot tubs?")
    say(connection, "joanie", "Yes.", at=NOON + timedelta(hours=7))
    add_lead(connection, "other thread", customer="joanie")
    say(connection, "other thread", "No.", at=NOON + timedelta(seconds=1))
    assert contents(recall(connection, joanie, "hot tub repairs")) == ["Do you repair hot tubs?"]


def test_the_one_whom_the_question_names_speaks_first(connection, joanie):
    say(connection, "joanie", *SMALL_TALK)
    say(connection, "joanie", "I love sailing.", author="Ann Lee", at=NOON + timedelta(days=1))
    say(connection, "joanie", "I love sailing.", author="Bob Ray", at=NOON + timedelta(days=2))
    for name in ("Ann", "bob", "Bob Ray's"):
        hit = first(connection, joanie, f"What does {name} love, sailing?")
        author = connection.execute(
            text("SELECT author FROM messages WHERE id = :id"), {"id": hit.message_id}
        ).scalar_one()
        assert author.split()[0].lower() in name.lower()
        assert hit.parts["speaker"] > 0
    both = first(connection, joanie, "Do Ann and Bob love sailing?")
    assert "speaker" not in both.parts


def test_words_of_an_author_s_name_are_looked_for_where_nobody_is_named(connection, joanie):
    """A business's name is made of what its customers speak of."""
    crew = {"author": "Sunny Moving Truck Crew", "role": "assistant"}
    bill = {"author": "Bill Price", "role": "assistant"}
    say(connection, "joanie", *SMALL_TALK, at=NOON - timedelta(days=9), **crew)
    say(connection, "joanie", *SMALL_TALK, at=NOON - timedelta(days=8), **bill)
    say(connection, "joanie", "Our crew is three people.", at=NOON)
    say(connection, "joanie", "The bill came with a price of 90.", at=NOON + timedelta(days=1))
    say(connection, "joanie", "I like sailing.", at=NOON + timedelta(days=2), **bill)
    assert first(connection, joanie, "What is the crew size?").content.startswith("Our crew")
    for query in ("price of the bill", "What did the last bill say, the price?"):
        hit = first(connection, joanie, query)
        assert hit.content.startswith("The bill")
        assert "speaker" not in hit.parts
    for query in ("What does Bill like?", "does bill like sailing", "Does Bill Price sail?"):
        assert first(connection, joanie, query).parts["speaker"] > 0


def test_what_told_an_agent_how_to_behave_is_neither_found_nor_a_neighbour(connection, joanie):
    policy = "Policy: a sofa costs 90, a sofa bed 120, a piano is never moved alone."
    say(connection, "joanie", policy, role="system")
    say(connection, "joanie", "Hi there.", "The sofa is green.", at=NOON + timedelta(minutes=1))
    found = recall(connection, joanie, "what does a sofa or piano cost")
    assert contents(found) == ["The sofa is green.", "Hi there."]
    assert found.hits[0].words == ("sofa",)
    assert found.ranked == 2


def test_events_are_hits_unless_only_what_was_said_is_wanted(connection, joanie):
    say(connection, "joanie", *('{"sofa":"green"}',) * 90, kind="event")
    say(connection, "joanie", "The sofa is green.", at=NOON + timedelta(days=1))
    assert len(recall(connection, joanie, "the green sofa", k=10).hits) == 10
    said = recall(connection, joanie, "the green sofa", k=10, spoken=True)
    assert contents(said) == ["The sofa is green."]


def test_a_role_is_a_speaker_where_nobody_is_named(connection, joanie):
    for days, role in enumerate(("user", "assistant")):
        at = NOON + timedelta(days=days)
        say(connection, "joanie", "The price is fixed.", role=role, at=at)
    say(connection, "joanie", *SMALL_TALK, at=NOON + timedelta(days=5))
    hits = [first(connection, joanie, f"What did the {who} say of the price?") for who in _WHO]
    assert hits[0].message_id != hits[1].message_id


_WHO = ("customer", "agent")


def test_what_is_on_a_photo_is_found(connection, joanie):
    say(connection, "joanie", *SMALL_TALK)
    say(connection, "joanie", "Look at this.", attachment_text="a photo of a cracked gutter")
    hit = first(connection, joanie, "photo of the gutter")
    assert (hit.content, hit.attachment_text) == ("Look at this.", "a photo of a cracked gutter")


def test_a_question_for_a_time_prefers_a_message_that_tells_one(connection, joanie):
    day = timedelta(days=1)
    say(connection, "joanie", *SMALL_TALK)
    say(connection, "joanie", "We painted the fence with Tom.", at=NOON + day)
    say(connection, "joanie", "We painted the fence yesterday.", at=NOON)
    say(connection, "joanie", "We painted the fence, what a job.", at=NOON + 2 * day)
    hit = first(connection, joanie, "When did you paint the fence?")
    assert "yesterday" in hit.content
    assert "time" in hit.parts
    assert "time" not in first(connection, joanie, "Why did you paint the fence?").parts


@pytest.mark.parametrize(
    ("query", "month"),
    [
        ("the leak in May 2025", 5),
        ("the leak on June 3, 2025", 6),
        ("the leak on 3rd of June", 6),
        ("the leak of 2025-07-03", 7),
        ("the leak two months ago", 7),
        ("the leak last week", 9),
    ],
)
def test_a_message_of_the_time_that_is_asked_for_comes_first(connection, joanie, query, month):
    now = datetime(2025, 9, 11, tzinfo=UTC)
    for number in range(4, 11):
        say(connection, "joanie", "There is a leak.", at=datetime(2025, number, 4, tzinfo=UTC))
    hit = first(connection, joanie, query, now=now)
    assert hit.created_at.month == month
    assert hit.parts["date"] > 0


def test_of_equals_the_latest_comes_first_and_every_call_says_the_same(connection, joanie):
    for number in range(5):
        say(connection, "joanie", "A quote, please.", at=NOON + timedelta(days=number))
    once, again = (recall(connection, joanie, "quote") for _ in range(2))
    assert once == again
    times = [hit.created_at for hit in once.hits]
    assert times == sorted(times, reverse=True)
    assert len(times) == 5


def test_the_parts_of_a_score_add_up_and_are_told(connection, joanie):
    say(connection, "joanie", *SMALL_TALK, "The hot tub leaks.", "Since when?")
    for hit in recall(connection, joanie, "When did the hot tub leak?").hits:
        assert hit.score == pytest.approx(sum(hit.parts.values()))
        assert all(f"{name} {value:.2f}" in hit.why for name, value in hit.parts.items())
    assert "(leak, hot, tub)" in hit.why or "words" not in hit.parts


def test_another_customers_messages_are_never_read(connection, joanie):
    add_lead(connection, "stranger")
    say(connection, "stranger", "My gate code is 4411.")
    say(connection, "joanie", *SMALL_TALK)
    assert recall(connection, joanie, "gate code").hits == ()
    assert recall(connection, uuid.uuid4(), "gate code").ranked == 0


def test_what_was_never_spoken_of_has_no_hits(connection, joanie):
    say(connection, "joanie", *SMALL_TALK)
    assert recall(connection, joanie, "submarine").hits == ()


def test_a_question_of_stop_words_alone_has_what_its_speaker_said(connection, joanie):
    say(connection, "joanie", "Fine.", author="Ann")
    say(connection, "joanie", "Well.", author="Bob")
    assert contents(recall(connection, joanie, "What did Ann do?")) == ["Fine."]
    assert recall(connection, joanie, "What did you do?").hits == ()


@pytest.mark.parametrize("query", ["it's & | ! <-> ('x':*) \\", "a'b\\'c quote", "quote " * 3000])
def test_whatever_is_asked_is_taken_as_words(connection, joanie, query):
    say(connection, "joanie", *SMALL_TALK, "A quote, please.")
    assert contents(recall(connection, joanie, query))[:1] in ([], ["A quote, please."])


@pytest.mark.parametrize(("query", "k"), [("  ", 5), ("quote", 0), ("quote", MAX_K + 1)])
def test_a_question_that_cannot_be_is_refused(connection, joanie, query, k):
    with pytest.raises(UsageError):
        recall(connection, joanie, query, k=k)


def test_as_many_as_asked_for_come(connection, joanie):
    say(connection, "joanie", *(f"Quote number {n}." for n in range(30)))
    assert [len(recall(connection, joanie, "quote", k=k).hits) for k in (1, 10, 30)] == [1, 10, 30]


def fill(connection, lead, count):
    """Add many messages about nothing, some of them with a common word."""
    rows = [f"{SMALL_TALK[n % 5]} {'gate ' * (n % 7 == 0)}item{n}" for n in range(count)]
    say(connection, lead, *rows, at=NOON - timedelta(days=400))


def test_of_a_very_large_customer_the_same_is_found(connection, joanie):
    talk = ("What is the gate code?", "It is 4411.", "And the dog?", "He is called Rex.")
    say(connection, "joanie", *SMALL_TALK, *talk, *SMALL_TALK)
    small = recall(connection, joanie, "gate code", k=2)
    fill(connection, "joanie", LARGE)
    large = recall(connection, joanie, "gate code", k=2)
    assert large.ranked > LARGE
    assert contents(large) == contents(small) == ["It is 4411.", "What is the gate code?"]
    assert first(connection, joanie, "gate in March 2026").created_at > NOON - timedelta(days=1)


def test_in_a_very_large_customer_only_true_neighbours_are_near(connection, joanie):
    fill(connection, "joanie", LARGE)
    far = NOON + timedelta(minutes=1)
    say(
        connection, "joanie", "The boiler hums.", *("Nothing.",) * 20, "Pilot light is out.", at=far
    )
    hits = recall(connection, joanie, "boiler pilot light").hits
    assert [hit.content for hit in hits[:2]] == ["Pilot light is out.", "The boiler hums."]
    assert hits[1].parts["nearby"] < 3


def test_other_texts_are_ranked_on_the_same_scale(connection, joanie):
    say(connection, "joanie", *SMALL_TALK, "The gate code is 4411.", "What a week.")
    notes = ["Gate code 4411", "Likes the weather", "Prefers mornings"]
    found = recall(connection, joanie, "the code of the gate", beside=notes)
    code, weather, mornings = found.beside
    assert code.score > weather.score == mornings.score == 0
    assert code.score == pytest.approx(found.hits[0].score, rel=0.35)
    assert (set(code.words), weather.words) == ({"code", "gate"}, ())
    assert found.hits == recall(connection, joanie, "the code of the gate").hits
    assert recall(connection, joanie, "gate").beside == ()


@pytest.mark.parametrize(
    "query", ["When did we visit Oslo?", "Who came to the gate?", "How many keys?", "the gate"]
)
def test_the_first_are_the_same_however_many_are_asked_for(connection, joanie, query):
    people, things = ("Ann", "bob", "Cleo Ray", "nobody"), ("gate", "keys", "Oslo", "shop", "van")
    when = ("yesterday", "in 2024", "", "last week, again", "three times")
    rows = [
        f"So {people[n % 4]} took the {things[n % 5]} and {things[n % 3]} {when[n % 7 % 5]}."
        for n in range(120)
    ]
    say(connection, "joanie", *rows)
    many = recall(connection, joanie, query, k=30).hits
    for k in (1, 3, 10):
        assert recall(connection, joanie, query, k=k).hits == many[:k]


def test_an_event_is_read_by_its_line_and_asks_nothing_by_its_json(connection, joanie):
    say(connection, "joanie", *SMALL_TALK)
    say(connection, "joanie", '{"page": "/gate?id=7"}', kind="event", at=NOON + timedelta(hours=9))
    say(connection, "joanie", "Fine.", at=NOON + timedelta(hours=9, minutes=1))
    answered = {hit.content: hit.parts for hit in recall(connection, joanie, "gate page").hits}
    assert "answer" in answered["Fine."]
    line = "Opened the page of the gate"
    connection.execute(text("UPDATE messages SET line = :l WHERE kind = 'event'"), {"l": line})
    hits = {hit.content: hit.parts for hit in recall(connection, joanie, "gate page").hits}
    assert line in hits
    assert "answer" not in hits["Fine."]

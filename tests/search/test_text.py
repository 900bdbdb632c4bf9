"""Text search finds what the web's syntax asks for, page by page, and shows it safely."""

import base64
import itertools
import json
import unicodedata
import uuid
from contextlib import suppress
from datetime import datetime, timedelta
from html.parser import HTMLParser

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from search_world import NOON, add_lead, as_uuid, contents_found, every_page, say

from backstory.errors import UsageError
from backstory.extract.identity import conversation_id, customer_id
from backstory.model import Channel, MessageKind, Role
from backstory.search import snippet
from backstory.search.text import SearchQuery, search_messages

# A test that owns one database looks at it many times: examples only read.
READS = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def yard(connection):
    add_lead(connection, "lead-1")
    say(
        connection,
        "lead-1",
        "Can you quote a mattress?",
        "Quotes for the hot tub, please",
        "The tub is hot",
        "We quoted the sofa",
    )
    return connection


# --- the syntax of the web -------------------------------------------------------------------


def test_all_words_must_occur_in_any_form(yard):
    assert contents_found(yard, "quoting MATTRESSES") == ["Can you quote a mattress?"]


def test_quotation_marks_make_a_phrase_and_a_minus_excludes(yard):
    assert contents_found(yard, '"hot tub"') == ["Quotes for the hot tub, please"]
    assert contents_found(yard, 'quote -mattress "hot tub"') == ["Quotes for the hot tub, please"]
    assert contents_found(yard, "quote -mattress -tub") == ["We quoted the sofa"]


def test_or_finds_either(yard):
    assert len(contents_found(yard, "sofa or mattress")) == 2


def test_unbalanced_quotation_marks_are_forgiven(yard):
    assert contents_found(yard, '"hot tub') == ["Quotes for the hot tub, please"]
    assert contents_found(yard, 'quote "') != []


def test_captions_and_authors_are_found_too(connection):
    add_lead(connection, "lead-1")
    say(connection, "lead-1", "Look", attachment_text="A broken treadmill", author="Hazel")
    assert contents_found(connection, "treadmill") == ["Look A broken treadmill"]
    hit = search_messages(connection, SearchQuery("hazel")).hits[0]
    assert (hit.author, hit.snippet_plain()) == ("Hazel", "Look A broken treadmill")


@READS
@given(query=st.text(max_size=40) | st.text(alphabet="quote \"-|&!():*\\'<> or", max_size=30))
def test_any_query_is_answered_or_refused_with_advice(yard, query):
    with suppress(UsageError):
        search_messages(yard, SearchQuery(query))


@pytest.mark.parametrize(
    ("fields", "advice"),
    [
        ({"text": "  \n "}, "Say what to look for"),
        ({"text": "the of and"}, "add one that says more"),
        ({"text": '""'}, "add one that says more"),
        ({"text": "-mattress"}, "add a word to look for"),
        ({"text": "quote or -mattress"}, "add a word to look for"),
        ({"text": "quote " * 200}, "at most 1000 characters"),
        ({"text": "quote", "limit": 0}, "1 to 100"),
        ({"text": "quote", "limit": 101}, "1 to 100"),
        ({"text": "quote", "rank_limit": 0}, "counts from 1"),
        ({"text": "quote", "since": datetime(2026, 1, 1)}, "needs its zone"),  # noqa: DTZ001 - the point
        ({"text": "quote", "after": "nonsense"}, "damaged"),
        ({"text": "quote", "after": "é"}, "damaged"),
        ({"text": "quote", "after": "W10"}, "damaged"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_advice(connection, fields, advice):
    with pytest.raises(UsageError, match=advice):
        search_messages(connection, SearchQuery(**fields))


def test_a_cursor_belongs_to_its_query(yard):
    first = search_messages(yard, SearchQuery("quote", limit=1))
    with pytest.raises(UsageError, match="another search"):
        search_messages(yard, SearchQuery("sofa", after=first.next))
    with pytest.raises(UsageError, match="another search"):
        search_messages(yard, SearchQuery("quote", role=Role.USER, after=first.next))
    assert search_messages(yard, SearchQuery("quote", limit=50, after=first.next)).hits


@READS
@given(after=st.text(alphabet=st.characters(codec="ascii"), min_size=1, max_size=60))
def test_an_invented_cursor_is_refused(yard, after):
    with pytest.raises(UsageError):
        search_messages(yard, SearchQuery("quote", after=after))


def ask_behind_a_forged_cursor(connection, field, value):
    """Ask for the second page with another value in the first one's cursor."""
    first = search_messages(connection, SearchQuery("quote", limit=1)).next
    fields = json.loads(base64.urlsafe_b64decode(first + "=" * (-len(first) % 4)))
    fields[field] = value
    forged = base64.urlsafe_b64encode(json.dumps(fields).encode()).decode()
    return search_messages(connection, SearchQuery("quote", after=forged.rstrip("=")))


@pytest.mark.parametrize("seen", [10**30, 1e300, -1, None, "many"])
def test_a_cursor_that_somebody_wrote_counts_no_more_than_there_can_be(yard, seen):
    with pytest.raises(UsageError, match="damaged"):
        ask_behind_a_forged_cursor(yard, 4, seen)


@pytest.mark.parametrize("key", [5, None, [], "x"])
def test_a_cursor_that_somebody_wrote_goes_on_behind_no_id_that_cannot_be(yard, key):
    with pytest.raises(UsageError, match="damaged"):
        ask_behind_a_forged_cursor(yard, 5, [0.5, NOON.isoformat(), key])


# --- filters ---------------------------------------------------------------------------------


@pytest.fixture
def town(connection):
    """Three conversations of two customers; each message says `sofa` and what sets it apart."""
    add_lead(connection, "m-1", channel="messenger")
    add_lead(connection, "s-1", channel="sms", customer="m-1")
    add_lead(connection, "s-2", channel="sms")
    say(connection, "m-1", "sofa one", role="assistant")
    say(connection, "s-1", "sofa two", kind="event", at=NOON + timedelta(days=1))
    say(connection, "s-2", "sofa three", at=NOON + timedelta(days=2))
    return connection


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({}, ["sofa one", "sofa three", "sofa two"]),
        ({"role": Role.ASSISTANT}, ["sofa one"]),
        ({"role": Role.TOOL}, []),
        ({"kind": MessageKind.EVENT}, ["sofa two"]),
        ({"channel": Channel.SMS}, ["sofa three", "sofa two"]),
        ({"channel": Channel.SMS, "kind": MessageKind.TEXT}, ["sofa three"]),
        ({"customer_id": as_uuid(customer_id("m-1"))}, ["sofa one", "sofa two"]),
        ({"customer_id": uuid.UUID(int=1)}, []),
        ({"lead": "s-1"}, ["sofa two"]),
        ({"lead": "nobody"}, []),
        ({"lead": "\0\udc80"}, []),
        ({"since": NOON + timedelta(days=1)}, ["sofa three", "sofa two"]),
        ({"until": NOON + timedelta(days=1)}, ["sofa one"]),
        ({"since": NOON + timedelta(1), "until": NOON + timedelta(2)}, ["sofa two"]),
        ({"since": NOON + timedelta(2), "until": NOON}, []),
    ],
)
def test_each_filter_leaves_what_it_says(town, fields, found):
    assert contents_found(town, "sofa", **fields) == found


def test_a_hit_tells_where_it_was_said(town):
    hit = search_messages(town, SearchQuery("three")).hits[0]
    assert (hit.lead, hit.channel, hit.role, hit.kind) == ("s-2", "sms", "user", "text")
    assert (hit.customer, hit.customer_id) == ("Joanie", as_uuid(customer_id("s-2")))
    assert hit.conversation_id == as_uuid(conversation_id("s-2", 0))
    assert hit.created_at == NOON + timedelta(days=2)


# --- order and pages -------------------------------------------------------------------------


def test_words_side_by_side_rank_above_words_apart(connection):
    add_lead(connection, "lead-1")
    apart = "tub of a kind that nobody ever wanted to carry while it was hot"
    say(connection, "lead-1", apart, "a hot tub of a kind that nobody ever wanted to carry")
    hits = search_messages(connection, SearchQuery("hot tub")).hits
    assert hits[0].snippet_plain().startswith("a hot tub")
    assert hits[0].score > hits[1].score


def test_equal_scores_are_ordered_by_time_then_id(connection):
    add_lead(connection, "lead-1")
    earlier = say(connection, "lead-1", "sofa")
    later = [say(connection, "lead-1", "sofa", at=NOON + timedelta(1))[0] for _ in range(3)]
    hits = search_messages(connection, SearchQuery("sofa")).hits
    assert [hit.id for hit in hits] == [*sorted(later, reverse=True), *earlier]


@READS
@given(
    said=st.lists(
        st.tuples(st.integers(1, 3), st.integers(0, 2), st.sampled_from(["", "lamp"])), max_size=30
    ),
    limit=st.integers(1, 7),
)
def test_pages_show_every_match_once_and_in_order(connection, said, limit):
    savepoint = connection.begin_nested()
    add_lead(connection, "lead-1")
    expected = [
        *itertools.chain.from_iterable(
            say(connection, "lead-1", "sofa " * times + other, at=NOON + timedelta(days=day))
            for times, day, other in said
        )
    ]
    answers = every_page(connection, SearchQuery("sofa", limit=limit))
    savepoint.rollback()
    hits = [hit for answer in answers for hit in answer.hits]
    assert sorted(hit.id for hit in hits) == sorted(expected)
    places = [(hit.score, hit.created_at, hit.id) for hit in hits]
    assert places == sorted(places, reverse=True)
    assert all(answer.total_at_least == len(expected) for answer in answers if answer.hits)
    assert all(len(answer.hits) == limit for answer in answers[:-1])


# --- safe to show ----------------------------------------------------------------------------

HOSTILE = (
    "<script>alert('sofa')</script> & \"sofa\" \ufdd0<img src=x onerror=alert(1)>\ufdd1 "
    "\x1b[31msofa\x1b[0m \x1b]0;title\x07 \u202egnp.exe\u202c \u2066sofa\u2069 \u200f "
    "\U000e0041\U000e0042 \x07\x08 \u2028line\u2029 👩‍👧 sofa"
)


class Tags(HTMLParser):
    """Collects the tags a browser would see."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, attrs))


def tags_in(page):
    parser = Tags()
    parser.feed(page)
    return {tag for tag, attrs in parser.seen if not attrs} | {str(s) for s in parser.seen if s[1]}


def test_a_hostile_message_is_shown_without_harm(connection):
    add_lead(connection, "lead-1", name="\u202eHazel\x1b[2J")
    say(connection, "lead-1", HOSTILE, author="\x1b[31mEve\u202e")
    hit = search_messages(connection, SearchQuery("sofa")).hits[0]
    assert tags_in(hit.snippet_html()) == {"mark"}
    assert "<mark>sofa</mark>" in hit.snippet_html()
    assert (hit.author, hit.customer) == ("Eve", "Hazel")
    for shown in (hit.snippet_plain(), *(part.text for part in hit.snippet)):
        assert not set(shown) & set("\ufdd0\ufdd1\x1b\x07\x08\u202e\u202c\u2066\u2069\u200f\n")
        assert "\U000e0041" not in shown
    assert "👩‍👧" in hit.snippet_plain()


def test_sentinels_in_a_message_mark_nothing(connection):
    add_lead(connection, "lead-1")
    say(connection, "lead-1", "a \ufdd0chair\ufdd1 and a sofa")
    hit = search_messages(connection, SearchQuery("sofa")).hits[0]
    assert [part.text for part in hit.snippet if part.is_match] == ["sofa"]
    assert "chair" in hit.snippet_plain()


@given(marked=st.text() | st.text(alphabet="\ufdd0\ufdd1<>&ab\x1b[m\u202e "))
def test_no_text_gets_past_the_marks(marked):
    parts = snippet.fragments(marked)
    assert tags_in(snippet.as_html(parts)) <= {"mark"}
    for part in parts:
        unseen = {c for c in part.text if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Co", "Cn"}}
        assert unseen <= set("\u200c\u200d")


def test_a_long_message_is_cut_around_the_match(connection):
    add_lead(connection, "lead-1")
    say(connection, "lead-1", "lorem ipsum " * 4_000 + "sofa " + "dolor amet " * 50)
    shown = search_messages(connection, SearchQuery("sofa")).hits[0].snippet_plain()
    assert "sofa" in shown
    assert len(shown) < 400


def test_what_a_query_leaves_out_does_not_change_how_the_rest_is_ranked(connection):
    add_lead(connection, "ranked")
    say(
        connection,
        "ranked",
        "zebra " * 9,
        "A zebra and much else beside it.",
        "The zebra, a zebra.",
    )
    asked = [SearchQuery(query) for query in ("zebra", "zebra -walrus")]
    plain, without = (search_messages(connection, each).hits for each in asked)
    assert [hit.id for hit in plain] == [hit.id for hit in without]
    assert [hit.score for hit in plain] == [hit.score for hit in without]
    assert plain[0].score > plain[-1].score > 0.001

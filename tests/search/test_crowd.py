"""A query with very many matches is answered in blocks, the newest first, and says so."""

import itertools
from datetime import timedelta

import pytest
from search_world import NOON, add_lead, as_uuid, every_page
from sqlalchemy import text

from backstory.extract.identity import conversation_id, customer_id
from backstory.model import Role
from backstory.search.ranking import Way, choose
from backstory.search.text import SearchQuery, search_messages
from backstory.store.statements import statements

CROWD = """
WITH numbers AS (
    SELECT n, md5(CAST(n AS text)) AS h,
           CAST(:noon AS timestamptz) + n / 3 * interval '1 minute' AS t
    FROM generate_series(1, :many) AS n
), logged AS (
    INSERT INTO audit_log (id, log, audit_id, actor, action, payload, payload_hash, seq, created_at)
    SELECT CAST(h AS uuid), 'audit', h, 'customer', 'said', '{}', '', n, t FROM numbers
)
INSERT INTO messages (id, conversation_id, customer_id, log, audit_id, role, kind, content, seq,
                      created_at)
SELECT CAST(h AS uuid), c.id, c.customer_id, 'audit', h, 'user', 'text',
       'sofa ' || repeat('sofa ', n % 3) || CASE WHEN n % 4 = 0 THEN 'chair ' ELSE '' END
       || CASE WHEN n < 9000 THEN 'snow ' ELSE '' END || CASE WHEN n = 77 THEN 'piano' ELSE '' END,
       n, t
FROM numbers AS n JOIN conversations AS c ON c.id = CASE WHEN n % 100 = 0 THEN CAST(:rare AS uuid)
                                                         ELSE CAST(:usual AS uuid) END
"""
MANY = 20_000


@pytest.fixture
def crowd(engine):
    """20,000 messages that all say `sofa`, three at a time; the oldest 9,000 also `snow`."""
    with engine.begin() as connection:
        connection.execute(
            text("CREATE INDEX IF NOT EXISTS messages_created_at_idx ON messages (created_at)")
        )
        add_lead(connection, "usual")
        add_lead(connection, "rare")
        ids = {name: as_uuid(conversation_id(name, 0)) for name in ("usual", "rare")}
        connection.execute(text(CROWD), ids | {"noon": NOON, "many": MANY})
        connection.execute(text("ANALYZE"))
    with engine.connect() as connection:
        yield connection


def ids_in_database(connection, word):
    rows = connection.execute(
        text("SELECT id FROM messages WHERE search @@ to_tsquery('english', :w)"), {"w": word}
    )
    return sorted(rows.scalars())


def test_when_too_many_match_the_newest_are_ranked_and_the_answer_says_so(crowd):
    answer = search_messages(crowd, SearchQuery("sofa", rank_limit=50))
    assert answer.capped
    assert 50 <= answer.total_at_least < 60
    assert "Too many messages match" in answer.note
    assert f"{answer.total_at_least} matches since 2026-03-" in answer.note
    assert max(hit.created_at for hit in answer.hits) == NOON + MANY // 3 * timedelta(minutes=1)
    whole = search_messages(crowd, SearchQuery("sofa", rank_limit=None))
    assert (whole.capped, whole.note, whole.total_at_least) == (False, None, MANY)


@pytest.mark.parametrize("limit", [100, 77])
def test_pages_go_through_the_blocks_and_show_every_match_once(crowd, limit):
    answers = every_page(crowd, SearchQuery("sofa", limit=limit, rank_limit=2_000))
    hits = [hit for answer in answers for hit in answer.hits]
    assert sorted(hit.id for hit in hits) == ids_in_database(crowd, "sofa")
    assert answers[0].capped
    totals = [answer.total_at_least for answer in answers if answer.hits]
    assert totals == sorted(totals)
    assert totals[-1] == MANY
    blocks = [list(group) for _, group in itertools.groupby(answers, key=lambda a: a.note)]
    assert len(blocks) > 5
    oldest_so_far = None
    for block in blocks:
        places = [(h.score, h.created_at, h.id) for answer in block for h in answer.hits]
        assert places == sorted(places, reverse=True)
        times = [place[1] for place in places]
        assert not oldest_so_far or not times or max(times) < oldest_so_far
        oldest_so_far = min(times, default=oldest_so_far)


def test_words_of_another_season_are_ranked_whole(crowd):
    """They are no fewer, but the newest messages hold none of them."""
    answer = search_messages(crowd, SearchQuery("snow"))
    assert (answer.capped, answer.total_at_least) == (False, 8_999)


def test_a_rare_word_among_common_ones_is_ranked_whole(crowd):
    answer = search_messages(crowd, SearchQuery("sofa piano"))
    assert (answer.capped, answer.total_at_least) == (False, 1)


def test_filters_hold_when_the_ranking_is_capped(crowd):
    until = NOON + timedelta(minutes=5_000)
    query = SearchQuery("chair sofa", rank_limit=20, until=until, since=NOON, role=Role.USER)
    hits = search_messages(crowd, query).hits
    assert len(hits) == 10
    assert all(NOON <= hit.created_at < until for hit in hits)


def test_without_an_index_by_time_everything_is_ranked(crowd):
    """To find the newest would cost more than to rank all."""
    crowd.execute(text("DROP INDEX messages_created_at_idx"))
    answer = search_messages(crowd, SearchQuery("sofa"))
    assert (answer.capped, answer.total_at_least) == (False, MANY)


def plan_of(connection, words, *, walk, customer=None):
    statement = text("EXPLAIN " + statements()["search_matches"].body)
    asked = {"text": words, "walk": walk, "limit": 11, "customer_id": customer}
    rows = connection.execute(statement, dict.fromkeys(statement._bindparams) | asked)
    return "\n".join(rows.scalars())


def test_a_rare_word_is_looked_up_in_the_text_index(crowd):
    plan = plan_of(crowd, "sofa piano", walk=False)
    assert "messages_search_idx" in plan
    assert "Seq Scan" not in plan


def test_a_customer_is_read_without_the_text_index(crowd):
    """For common words the text index would cost a hundred times what the customer's rows do."""
    person = as_uuid(customer_id("rare"))
    plan = plan_of(crowd, "sofa chair", walk=True, customer=person)
    assert "messages_of_customer_idx" in plan
    assert "messages_search_idx" not in plan
    found = search_messages(crowd, SearchQuery("sofa chair", customer_id=person))
    assert (found.total_at_least, found.capped) == (200, False)


@pytest.mark.parametrize(
    ("matches", "population", "way"),
    [
        (3, 1e6, Way(walk=False)),  # two rare words
        (2_300, 1e6, Way(walk=False)),  # two words of 47,000
        (47_000, 1e6, Way(walk=True, window=4_256)),  # two words common together
        (900_000, 1e6, Way(walk=True, window=223)),  # nearly every message
        (5, 100, Way(walk=True)),  # a customer
        (115, 50_000, Way(walk=False)),  # a large customer, 3,000 matches in the business
        (2_350, 50_000, Way(walk=True, window=4_256)),  # 47,000 in the business
        (0, 0, Way(walk=True)),  # an empty database
    ],
)
def test_the_way_to_rank_depends_on_how_common_the_words_are(matches, population, way):
    assert choose(matches=matches, population=population, total=1e6, rank_limit=200) == way


def test_without_a_limit_everything_is_ranked():
    way = choose(matches=9e5, population=1e6, total=1e6, rank_limit=None)
    assert way.window is None

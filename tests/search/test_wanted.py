"""What a query demands by its words, as PostgreSQL reads it."""

import itertools

import pytest
from sqlalchemy import text

from backstory.search.wanted import wanted


@pytest.mark.parametrize(
    ("query", "meant", "demanded"),
    [
        ("hot tub or sauna", "hot tub or sauna", None),
        ("check-in at noon", "check-in at noon", None),
        ('"lost luggage" -refund', "lost luggage", '"lost luggage" -refund'),
        ('where is -"hot tub" it', "where is it", '-"hot tub"'),
        ("van - car", "van", "-car"),
        ("--van", "--van", None),
        ("van -", "van -", None),
        ('"hot tub', "hot tub", '"hot tub"'),
        ("-van", "", "-van"),
        ("-a or b", "b", None),
        ('-a or "b c"', "b c", '-a or "b c"'),
        ('"b c" or', "b c", '"b c"'),
        ("or -a", "or", "-a"),
        ('van-"car"', "van- car", '"car"'),
    ],
)
def test_a_query_is_read(query, meant, demanded):
    assert wanted(query) == (meant, demanded)


def test_what_matches_a_query_matches_what_it_demands(connection):
    """Over many ways to write one: whoever asks by words and by meaning is told no less."""
    pieces = ("van", "-", "-car", '"', '"red van"', '-"red car"', "or", "OR", "--", "!van", "")
    said = ("van", "car", "red van", "red car", "a red car and a van", "a red van or a car", "")
    matches = text("""
        SELECT s.said FROM unnest(CAST(:said AS text[])) AS s (said)
        WHERE to_tsvector('english', s.said) @@ websearch_to_tsquery('english', :query)
          AND numnode(websearch_to_tsquery('english', :demanded)) > 0
          AND NOT to_tsvector('english', s.said) @@ websearch_to_tsquery('english', :demanded)
    """)
    read = 0
    for given in itertools.product(pieces, repeat=3):
        query = " ".join(given)
        demanded = wanted(query).demanded
        if demanded is not None:
            asked = {"said": list(said), "query": query, "demanded": demanded}
            assert connection.execute(matches, asked).all() == [], (query, demanded)
            read += 1
    assert read > 500

"""Times text search on a loaded million: the 200-query mix, in the business and in one customer.

    python bench/search.py --url postgresql://... --schema backstory --words bench/data/words.json

The mix: 48 queries of two words that are common together (47,000 matches a query), 104 of a common
and a rare word, 48 of two rare words. Beside it, in the same run, the floor: the textbook statement
`ORDER BY ts_rank(...) DESC LIMIT 10` on the same column.
"""

import argparse
import json
import random
import statistics
import sys
import time
import uuid
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from sqlalchemy import Connection, text

from backstory.search.text import SearchQuery, search_messages
from backstory.store.engine import open_engine

MIX = {"common + common": 48, "common + rare": 104, "rare + rare": 48}
MILD = "words of 47,000"  # two words of 47,000 matches each: some 3,000 together; not in the mix
TEXTBOOK = """
SELECT m.id FROM messages AS m
WHERE m.search @@ websearch_to_tsquery('english', CAST(:words AS text))
  AND (CAST(:customer AS uuid) IS NULL OR m.customer_id = CAST(:customer AS uuid))
ORDER BY ts_rank(m.search, websearch_to_tsquery('english', CAST(:words AS text))) DESC
LIMIT 10
"""
CUSTOMERS = """
SELECT customer_id FROM messages GROUP BY customer_id ORDER BY {order} LIMIT CAST(:n AS integer)
"""


@dataclass(frozen=True)
class Timing:
    """One query: how it is classed, how long it took in milliseconds, whether it was capped."""

    kind: str
    words: str
    ms: float
    capped: bool


def query_mix(words: dict[str, list[str]], rng: random.Random) -> list[tuple[str, str]]:
    """Return the queries with their classes, in an order that favours none."""
    hubs = [" ".join(pair) for pair in combinations(words["hub"], 2)]
    mild = [" ".join(rng.sample(words["common"], 2)) for _ in range(MIX["common + common"])]
    common = [" ".join(rng.sample(words["hub"], 2)) for _ in range(MIX["common + common"])]
    common[: len(hubs)] = hubs
    known = [*words["common"], *words["hub"]]
    mixed = [f"{rng.choice(known)} {rng.choice(words['rare'])}" for _ in range(104)]
    rare = [" ".join(pair) for pair in rng.sample(words["rare_pairs"], MIX["rare + rare"])]
    classes = {"common + common": common, "common + rare": mixed, "rare + rare": rare, MILD: mild}
    queries = [(kind, query) for kind, asked in classes.items() for query in asked]
    rng.shuffle(queries)
    return queries


def ask_product(connection: Connection, words: str, customer: uuid.UUID | None) -> bool:
    """Ask as every face does."""
    return search_messages(connection, SearchQuery(text=words, customer_id=customer)).capped


def ask_textbook(connection: Connection, words: str, customer: uuid.UUID | None) -> bool:
    """Ask as the manual does; ids only, no snippets."""
    connection.execute(text(TEXTBOOK), {"words": words, "customer": customer}).all()
    return False


def timed(
    connection: Connection, words: str, customer: uuid.UUID | None, repeat: int
) -> tuple[float, float, bool]:
    """Ask product and textbook in turn; return both medians, the first and coldest round aside."""
    spent: tuple[list[float], list[float]] = ([], [])
    capped = False
    for _ in range(repeat + 1):
        for ask, times in zip((ask_product, ask_textbook), spent, strict=True):
            began = time.perf_counter()
            capped = ask(connection, words, customer) or capped
            times.append((time.perf_counter() - began) * 1000)
            connection.rollback()
    return statistics.median(spent[0][1:]), statistics.median(spent[1][1:]), capped


def summary(timings: list[Timing]) -> dict[str, float]:
    """Return the figures of some queries, in milliseconds."""
    spent = sorted(t.ms for t in timings)
    return {
        "queries": len(spent),
        "p50": round(statistics.median(spent), 2),
        "p95": round(spent[max(0, -(-len(spent) * 95 // 100) - 1)], 2),
        "max": round(spent[-1], 2),
        "capped": round(sum(t.capped for t in timings) / len(timings), 3),
    }


def scopes(connection: Connection, rng: random.Random) -> dict[str, list[uuid.UUID | None]]:
    """Return whom to ask about: everybody, ordinary customers, the one with the most messages."""
    ordinary = connection.execute(text(CUSTOMERS.format(order="customer_id")), {"n": 2000})
    largest = connection.execute(text(CUSTOMERS.format(order="count(*) DESC")), {"n": 1})
    return {
        "whole business": [None],
        "one customer": rng.sample(list(ordinary.scalars()), 200),
        "largest customer": list(largest.scalars()),
    }


def measure(
    connection: Connection, words: dict[str, list[str]], *, seed: int, repeat: int
) -> list[dict[str, object]]:
    """Return a row of figures for each scope, asker and class of queries."""
    rng = random.Random(seed)
    queries, rows = query_mix(words, rng), []
    for scope, customers in scopes(connection, rng).items():
        timings: dict[str, list[Timing]] = {"backstory": [], "textbook": []}
        for number, (kind, query) in enumerate(queries):
            ours, theirs, capped = timed(
                connection, query, customers[number % len(customers)], repeat
            )
            timings["backstory"].append(Timing(kind, query, ours, capped))
            timings["textbook"].append(Timing(kind, query, theirs, capped=False))
        for asker, taken in timings.items():
            classes = {"the mix": [t for t in taken if t.kind in MIX]}
            classes |= {kind: [t for t in taken if t.kind == kind] for kind in (*MIX, MILD)}
            rows += [
                {"scope": scope, "asker": asker, "class": kind, **summary(asked)}
                for kind, asked in classes.items()
            ]
    return rows


def table(rows: list[dict[str, object]]) -> str:
    """Return the figures as a table for reading."""
    head = ("scope", "asker", "class", "queries", "p50", "p95", "max", "capped")
    lines = [head, *(tuple(str(row[name]) for name in head) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(w) if i < 3 else cell.rjust(w) for i, (cell, w) in enumerate(cells))
        for cells in (zip(line, widths, strict=True) for line in lines)
    )


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--url", required=True)
    parser.add_argument("--schema", default="backstory")
    parser.add_argument("--words", type=Path, default=Path(__file__).parent / "data" / "words.json")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=3, help="rounds; the median is kept")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    wish = parser.parse_args()
    engine = open_engine(wish.url, wish.schema)
    with engine.connect() as connection:
        words = json.loads(wish.words.read_text(encoding="utf-8"))
        rows = measure(connection, words, seed=wish.seed, repeat=wish.repeat)
    engine.dispose()
    sys.stdout.write((json.dumps(rows, indent=1) if wish.json else table(rows)) + "\n")


if __name__ == "__main__":
    main()

"""The tools in process: what each costs, what row-level security costs, what foreign ids get.

    python bench/load.py --records 1000000 --keep
    python bench/tools.py --schema bench_1000000 --words bench/data/1000000/words.json --url …

It writes into the schema it is given. The floor of `memory_fetch_candidates` is the same function
on the owner's connection, where its own WHERE is all that keeps customers apart.
"""

import argparse
import itertools
import json
import random
import statistics
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

from sqlalchemy import text

from backstory.memory import candidates
from backstory.store.binding import bound
from backstory.store.engine import Database
from backstory.store.schema import upgrade
from backstory.tools.session import Rules, Session, open_session

SEED = 7
LEADS_ASKED = 150


def main() -> None:
    """Measure and print; ratios are medians of pairs that were taken alternately."""
    options = _arguments()
    database = Database.open(options.url, options.schema)
    upgrade(database.engine, database.schema)
    words = json.loads(options.words.read_text(encoding="utf-8"))
    pick = random.Random(SEED)
    sessions = _sessions(database, pick)
    found: dict[str, Any] = {"tools": _tools(sessions, words, pick)}
    found["row_level_security"] = _policies(database, sessions, words, pick)
    found["foreign_ids_answered"] = _foreign(sessions)
    if options.json:
        print(json.dumps(found, indent=2))
        return
    print(f"{'tool':28} {'calls':>6} {'p50':>8} {'p95':>8} {'max':>8}   milliseconds")
    for name, row in found["tools"].items():
        print(f"{name:28} {row['calls']:6} {row['p50']:8.2f} {row['p95']:8.2f} {row['max']:8.2f}")
    rls = found["row_level_security"]
    print(
        f"memory_fetch_candidates under row-level security {rls['bound_ms']:.2f} ms, by the owner "
        f"{rls['owner_ms']:.2f} ms: {rls['ratio']:.2f} times"
    )
    asked, answered = found["foreign_ids_answered"].values()
    print(f"foreign ids: {asked} asked, {answered} answered with data")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", required=True)
    parser.add_argument("--schema", required=True)
    parser.add_argument("--words", type=Path, required=True)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _sessions(database: Database, pick: random.Random) -> list[Session]:
    with database.engine.connect() as connection:
        leads = connection.execute(text("SELECT id FROM leads ORDER BY id")).scalars().all()
    rules = Rules(memory_enabled=True)
    return [
        open_session(database, lead, rules=rules) for lead in pick.sample(list(leads), LEADS_ASKED)
    ]


def _query(words: dict[str, list[str]], pick: random.Random) -> str:
    """Return six words, common and rare, as a customer might say them."""
    common = pick.sample([*words["hub"], *words["common"]], 4)
    return " ".join([*common, *pick.sample(words["rare"], 2)])


def _tools(
    sessions: list[Session], words: dict[str, list[str]], pick: random.Random
) -> dict[str, Any]:
    spent: dict[str, list[float]] = {}

    def call(session: Session, tool: str, **arguments: Any) -> dict[str, Any]:
        started = perf_counter()
        answer = session.call(tool, arguments)
        spent.setdefault(tool, []).append(perf_counter() - started)
        if answer.refused:
            raise SystemExit(f"{tool} refused: {answer.data}")
        return answer.data

    for session in sessions:
        call(session, "upsert_customer_profile", name=f"Name {uuid.uuid4().hex[:8]}")
        place = call(session, "add_address", line1=f"{pick.randint(1, 9999)} Oak St", city="Austin")
        address = place["address"]["address_id"]
        title = f"Job {uuid.uuid4().hex[:8]}"
        job = call(session, "create_job", title=title, address_id=address)["job"]["job_id"]
        call(session, "add_job_item", job_id=job, kind="item", name="Sofa", unit_price_cents=4500)
        call(session, "record_job_event", job_id=job, event_type="started")
        shown = call(session, "memory_fetch_candidates", query=_query(words, pick), k=5)
        ids = [each["candidate_id"] for each in shown["candidates"]]
        if ids:
            call(session, "memory_confirm_context", candidate_ids=ids[:2])
    return {tool: _quantiles(times) for tool, times in spent.items()}


def _quantiles(times: list[float]) -> dict[str, float]:
    ordered = sorted(1000 * each for each in times)
    return {
        "calls": len(ordered),
        "p50": statistics.median(ordered),
        "p95": ordered[int(0.95 * (len(ordered) - 1))],
        "max": ordered[-1],
    }


def _policies(
    database: Database, sessions: list[Session], words: dict[str, list[str]], pick: random.Random
) -> dict[str, float]:
    """Ask the same by the agent's role and by the owner, in turn."""
    pairs: list[tuple[float, float]] = []
    for session in sessions:
        query = _query(words, pick)
        with database.engine.connect() as connection:
            within = bound(
                connection,
                database.schema,
                lead_id=session.lead_id,
                actor="agent",
                now=datetime.now(UTC),
                region="US",
            )
            with within as mine:
                policed = _seconds(lambda: candidates.fetch(mine, query, k=5))  # noqa: B023 - called at once
            # Unbound again: the same transaction is the owner's now.
            owned = _seconds(lambda: candidates.fetch(mine, query, k=5))  # noqa: B023 - called at once
            connection.rollback()
        pairs.append((policed, owned))
    policed, owned = (statistics.median(side) for side in zip(*pairs, strict=True))
    return {
        "bound_ms": 1000 * policed,
        "owner_ms": 1000 * owned,
        "ratio": statistics.median(one / other for one, other in pairs),
    }


def _seconds(work: Callable[[], object], times: int = 3) -> float:
    spent = []
    for _ in range(times):
        started = perf_counter()
        work()
        spent.append(perf_counter() - started)
    return statistics.median(spent)


def _foreign(sessions: list[Session]) -> dict[str, int]:
    """Try each customer's job and address in the next one's session."""
    asked = answered = 0
    for one, other in itertools.pairwise(sessions):
        place = one.call("add_address", {"line1": "1 Foreign Rd"}).data["address"]["address_id"]
        title = f"Foreign {uuid.uuid4().hex[:8]}"
        job = one.call("create_job", {"title": title}).data["job"]["job_id"]
        shown = one.call("memory_fetch_candidates", {"query": title}).data["candidates"]
        tries: list[tuple[str, dict[str, Any]]] = [
            ("create_job", {"title": "Mine now", "address_id": place}),
            ("add_job_item", {"job_id": job, "kind": "item", "name": "x"}),
            ("record_job_event", {"job_id": job, "event_type": "canceled"}),
            ("memory_confirm_context", {"candidate_ids": [c["candidate_id"] for c in shown]}),
        ]
        if _same_customer(one, other):
            continue
        for tool, arguments in tries:
            asked += 1
            answered += not other.call(tool, arguments).refused
    return {"asked": asked, "answered": answered}


def _same_customer(one: Session, other: Session) -> bool:
    with one.database.engine.connect() as connection:
        owners = connection.execute(
            text("SELECT DISTINCT customer_id FROM leads WHERE id = ANY (:ids)"),
            {"ids": [one.lead_id, other.lead_id]},
        ).all()
    return len(owners) == 1


if __name__ == "__main__":
    main()

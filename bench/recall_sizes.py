"""What a call of recall costs in customers of given sizes: dialogues told over and over.

    python bench/recall_sizes.py dialogues.json --sizes 1000 50000 --mode all

The turns of the dialogues become one customer's messages, one dialogue after the other, each round
of them 400 days later. They go the product's own way: a log, a backfill, embeddings as a run (a
text that is said again gets the vector that it got before). Asked are questions of the dialogues
that are told in it, each in every mode in turn, so that a busy hour is every mode's.
"""

import argparse
import itertools
import json
import os
import random
import resource
import statistics
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, NamedTuple

import psutil
from dialogues import Dialogue, Turn, read_dialogues
from load import drop_schema, embedded_url, fresh_schema
from recall import COUNTED, DEPTH, load
from sqlalchemy import Connection, text

from backstory.config import Settings
from backstory.extract.identity import customer_id
from backstory.model import Embedder, SearchMode
from backstory.search import embed_run
from backstory.search.embed import DEFAULT_MODEL, EmbeddingSettings, open_embedder
from backstory.search.recall import recall
from backstory.store.engine import Database

HERE = Path(__file__).parent
SCHEMA = "bench_recall_sizes"
SEED = 7
SETTLE = 10
ROUND = timedelta(days=400)
MODES = tuple(SearchMode)


class Spent(NamedTuple):
    """What a call took in milliseconds: by the clock, of our CPU, and of the server's."""

    ms: float
    cpu_ms: float
    server_cpu_ms: float


class Remembering:
    """An embedder that embeds a text once, however often it is said."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._known: dict[str, list[float]] = {}

    @property
    def name(self) -> str:
        """The model's name."""
        return self._embedder.name

    @property
    def dimensions(self) -> int:
        """How long its vectors are."""
        return self._embedder.dimensions

    def embed(self, texts: Sequence[str], *, asking: bool = False) -> list[list[float]]:
        """Return a vector for each text."""
        new = [each for each in dict.fromkeys(texts) if each not in self._known]
        found = self._embedder.embed(new, asking=asking) if new else []
        self._known.update(zip(new, found, strict=True))
        return [self._known[each] for each in texts]


def of_size(dialogues: Sequence[Dialogue], size: int) -> Dialogue:
    """Return one customer with so many messages, and the questions to what is told of them."""
    told = list(itertools.islice(_told(dialogues), size))
    whole = {owner.lead for owner, _ in told}
    questions = [q for d in dialogues if d.lead in whole for q in d.questions]
    return Dialogue(f"size-{size}", tuple(turn for _, turn in told), tuple(questions))


def _told(dialogues: Sequence[Dialogue]) -> Iterator[tuple[Dialogue, Turn]]:
    for again in itertools.count():
        for dialogue in dialogues:
            for turn in dialogue.turns:
                name = f"{again}/{dialogue.lead}/{turn.name}"
                yield dialogue, replace(turn, name=name, at=turn.at + again * ROUND)


def measure(
    database: Database, customer: Dialogue, modes: Sequence[SearchMode], embedder: Embedder | None
) -> dict[str, Any]:
    """Ask some questions in every mode in turn; return what a call took, in milliseconds."""
    person = uuid.UUID(bytes=customer_id(customer.lead))
    counted = [q.text for q in customer.questions if q.category in COUNTED]
    asked = random.Random(SEED).sample(counted, min(len(counted), 150))
    spent: dict[SearchMode, list[Spent]] = {mode: [] for mode in modes}
    with database.engine.connect() as connection:
        server = _server(connection)
        for number, question in enumerate([*asked[:SETTLE], *asked]):
            for mode in modes:
                call = partial(
                    recall, connection, person, question, k=DEPTH, mode=mode, embedder=embedder
                )
                taken = _spent(call, server)
                if number >= SETTLE:
                    spent[mode].append(taken)
    return {mode.value: _figures(each) for mode, each in spent.items()}


def _server(connection: Connection) -> psutil.Process | None:
    """Return the server's process that answers us, None if it is on another machine."""
    pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    try:
        found = psutil.Process(pid)
        return found if found.name().startswith("postgres") else None
    except psutil.Error:
        return None


def _spent(call: Callable[[], object], server: psutil.Process | None) -> Spent:
    before, began, computed = _server_seconds(server), perf_counter(), process_time()
    call()
    took, own = perf_counter() - began, process_time() - computed
    return Spent(1000 * took, 1000 * own, 1000 * (_server_seconds(server) - before))


def _server_seconds(server: psutil.Process | None) -> float:
    # In steps of 10 ms: right only over many calls.
    return sum(server.cpu_times()[:2]) if server else 0.0


def _figures(spent: Sequence[Spent]) -> dict[str, float]:
    times = sorted(each.ms for each in spent)
    return {
        "calls": len(times),
        "p50_ms": round(statistics.median(times), 2),
        "p95_ms": round(times[int(0.95 * (len(times) - 1))], 2),
        "max_ms": round(times[-1], 2),
        "cpu_ms": round(statistics.fmean(each.cpu_ms for each in spent), 2),
        "server_cpu_ms": round(statistics.fmean(each.server_cpu_ms for each in spent), 2),
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 50_000])
    parser.add_argument("--mode", choices=(*MODES, "all"), default="all")
    parser.add_argument("--database", default=Settings().database_url)
    parser.add_argument("--data", type=Path, default=HERE / "data")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="a model's name or directory")
    parser.add_argument("--home", type=Path, default=Settings().home, help="where models are")
    parser.add_argument("--keep", action="store_true", help="leave what was loaded in its schema")
    parser.add_argument("--again", action="store_true", help="ask what --keep has left")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _load(
    database: Database, customers: list[Dialogue], embedder: Embedder | None, url: str
) -> None:
    fresh_schema(url, SCHEMA)
    with tempfile.TemporaryDirectory() as folder:
        load(database, customers, Path(folder))
        if embedder is not None:
            embed_run.start(database, Path(folder), Remembering(embedder))
    # What is loaded at once is tidied by the server a minute later; do not wait for it.
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM (ANALYZE) messages"))
        connection.execute(text("VACUUM (ANALYZE) embeddings"))


def main() -> None:
    """Load the customers, ask, print."""
    wish = _arguments()
    url = wish.database or embedded_url(wish.data)
    customers = [of_size(read_dialogues(wish.path), size) for size in wish.sizes]
    modes = MODES if wish.mode == "all" else (SearchMode(wish.mode),)
    embedder = None
    if modes != (SearchMode.TEXT,):
        embedder = open_embedder(EmbeddingSettings(wish.model), wish.home)
    database = Database.open(url, SCHEMA)
    if not wish.again:
        _load(database, customers, embedder, url)
    result: dict[str, Any] = {
        "sizes": {len(c.turns): measure(database, c, modes, embedder) for c in customers},
        "load": round(os.getloadavg()[0], 1),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000),
    }
    database.engine.dispose()
    if not (wish.keep or wish.again):
        drop_schema(url, SCHEMA)
    sys.stdout.write((json.dumps(result, indent=1) if wish.json else _table(result)) + "\n")


def _table(result: dict[str, Any]) -> str:
    lines = [
        f"{'messages':>9} {'mode':9} {'p50':>8} {'p95':>8} {'max':>8} {'CPU':>8} {'server':>8}"
    ]
    lines += [
        f"{size:9,} {mode:9} {row['p50_ms']:8.1f} {row['p95_ms']:8.1f} {row['max_ms']:8.1f} "
        f"{row['cpu_ms']:8.1f} {row['server_cpu_ms']:8.1f}"
        for size, rows in result["sizes"].items()
        for mode, row in rows.items()
    ]
    tail = "milliseconds; CPU of this process and of the server's, a call (0 where it is not here)"
    return "\n".join([*lines, tail, f"load {result['load']}, peak {result['peak_mb']} MB"])


if __name__ == "__main__":
    main()

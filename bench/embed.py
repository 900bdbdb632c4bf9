"""Embedding as a run against its floor: the same model called bare, on the same texts, in one run.

    python bench/embed.py dialogues.json --model DIR

The floor tokenizes all texts, sorts them by length and calls ONNX Runtime as it comes, in batches
of the size that is fastest here; nothing is read from a database or written to one. The two take
turns, so that both meet the same machine. Where others are at work on it, compare the seconds of
CPU, those of the database's sessions included, rather than those on the clock.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import psutil
from load import drop_schema, embedded_url, fresh_schema
from recall import HERE, load, read_dialogues
from sqlalchemy import text
from tokenizers import Tokenizer

from backstory.config import Settings
from backstory.search import embed_run
from backstory.search.embed import DEFAULT_MODEL, model_directory
from backstory.search.embed_local import LocalEmbedder
from backstory.store.engine import Database

SCHEMA = "bench_embed"
BATCHES = (8, 16, 32, 64, 128)
# A trial of a batch size takes every so-manieth text.
TRIAL = 8
SAID = "SELECT concat_ws(': ', author, content) || coalesce(' (' || attachment_text || ')', '')"
SESSIONS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"


@dataclass(frozen=True)
class Spent:
    """Seconds on the clock, and of CPU: this process's and those of the database's sessions."""

    clock: float
    cpu: float


def timed(work: Callable[[], object], database: Database) -> Spent:
    """Do some work and return what it took."""
    before = time.process_time() + _server_seconds(database)
    began = time.perf_counter()
    work()
    clock = time.perf_counter() - began
    return Spent(clock, time.process_time() + _server_seconds(database) - before)


def _server_seconds(database: Database) -> float:
    """Return the CPU seconds of the sessions so far; those of a server elsewhere are not known."""
    with database.engine.connect() as connection:
        sessions = connection.execute(text(SESSIONS)).scalars().all()
    seconds = 0.0
    for pid in sessions:
        try:
            seconds += sum(psutil.Process(pid).cpu_times()[:2])
        except psutil.Error:
            continue
    return seconds


class Bare:
    """The model by itself, as ONNX Runtime runs it with so many threads; 0 is its own choice."""

    def __init__(self, directory: Path, threads: int) -> None:
        self._tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(256)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(str(directory / "model.onnx"), options)
        self._names = [each.name for each in self._session.get_inputs()]
        self.batch = 0

    def embed(self, texts: list[str]) -> None:
        """Embed the texts, the short ones first."""
        found = sorted((each.ids for each in self._tokenizer.encode_batch(texts)), key=len)
        for start in range(0, len(found), self.batch):
            _pool(self._session, self._names, found[start : start + self.batch])

    def choose_batch(self, texts: list[str], database: Database) -> None:
        """Take the size of a batch that is fastest, of two trials each."""
        trials: dict[int, float] = {}
        for size in BATCHES * 2:
            self.batch = size
            spent = timed(partial(self.embed, texts), database).clock
            trials[size] = min(spent, trials.get(size, spent))
        self.batch = min(trials, key=trials.__getitem__)


def _pool(session: Any, names: list[str], batch: list[list[int]]) -> Any:
    ids = np.zeros((len(batch), len(batch[-1])), dtype=np.int64)
    mask = np.zeros_like(ids)
    for row, tokens in enumerate(batch):
        ids[row, : len(tokens)] = tokens
        mask[row, : len(tokens)] = 1
    given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    hidden = session.run(None, {name: given[name] for name in names})[0]
    pooled = (hidden * mask[:, :, None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
    return pooled / np.linalg.norm(pooled, axis=1, keepdims=True)


def product(database: Database, home: Path, embedder: LocalEmbedder) -> Spent:
    """Return what a run takes that embeds everything, and take it back."""
    spent = timed(lambda: embed_run.start(database, home, embedder), database)
    embed_run.rollback(database, "last")
    return spent


def main() -> None:
    """Load the dialogues, embed in turns, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--home", type=Path, default=Settings().home)
    parser.add_argument("--database", default=Settings().database_url)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=0, help="of the floor; 0: its own choice")
    wish = parser.parse_args()
    directory = model_directory(wish.model, wish.home)
    if directory is None:
        raise SystemExit("No such model: `backstory model install` brings the default one.")
    url = wish.database or embedded_url(HERE / "data")
    fresh_schema(url, SCHEMA)
    database = Database.open(url, SCHEMA)
    embedder = LocalEmbedder(directory)
    with tempfile.TemporaryDirectory() as folder:
        load(database, read_dialogues(wish.path), Path(folder))
        with database.engine.connect() as connection:
            texts = list(connection.execute(text(f"{SAID} FROM messages")).scalars())
        floor = Bare(directory, wish.threads)
        floor.choose_batch(texts[::TRIAL], database)
        embedder.embed(texts[::TRIAL])
        rounds = [
            (
                timed(lambda: floor.embed(texts), database),
                product(database, Path(folder), embedder),
            )
            for _ in range(wish.rounds)
        ]
    database.engine.dispose()
    drop_schema(url, SCHEMA)
    print(f"{len(texts):,} texts, bare in batches of {floor.batch}")
    for measure in ("clock", "cpu"):
        bare, ours = (
            len(texts) / statistics.median(getattr(spent, measure) for spent in turns)
            for turns in zip(*rounds, strict=True)
        )
        print(
            f"a second of {measure}: bare {bare:.0f}, as a run {ours:.0f}, share {ours / bare:.2f}"
        )


if __name__ == "__main__":
    main()

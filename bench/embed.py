"""Embedding as a run against its floor: the same model called bare, on the same texts, in one run.

    python bench/embed.py dialogues.json --model DIR

The floor tokenizes all texts, sorts them by length and calls ONNX Runtime in batches of 64; nothing
is read from a database or written to one. The two take turns, so that both meet the same machine.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
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
BATCH = 64
SAID = "SELECT concat_ws(': ', author, content) || coalesce(' (' || attachment_text || ')', '')"


def bare(directory: Path, texts: list[str]) -> float:
    """Return the seconds that the model takes for the texts, loading aside."""
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    session = onnxruntime.InferenceSession(str(directory / "model.onnx"))
    names = [each.name for each in session.get_inputs()]
    began = time.perf_counter()
    found = sorted((each.ids for each in tokenizer.encode_batch(texts)), key=len)
    for start in range(0, len(found), BATCH):
        _pool(session, names, found[start : start + BATCH])
    return time.perf_counter() - began


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


def product(database: Database, home: Path, embedder: LocalEmbedder) -> float:
    """Return the seconds of a run that embeds everything, and take it back."""
    began = time.perf_counter()
    report = embed_run.start(database, home, embedder)
    seconds = time.perf_counter() - began
    embed_run.rollback(database, report.run_id)
    return seconds


def main() -> None:
    """Load the dialogues, embed in turns, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--home", type=Path, default=Settings().home)
    parser.add_argument("--database", default=Settings().database_url)
    parser.add_argument("--rounds", type=int, default=2)
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
        embedder.embed(texts[:BATCH])
        spent = [
            (bare(directory, texts), product(database, Path(folder), embedder))
            for _ in range(wish.rounds)
        ]
    database.engine.dispose()
    drop_schema(url, SCHEMA)
    floor, ours = (len(texts) / statistics.median(times) for times in zip(*spent, strict=True))
    print(
        f"{len(texts):,} texts: bare {floor:.0f} a second, as a run {ours:.0f}, {ours / floor:.2f}"
    )


if __name__ == "__main__":
    main()

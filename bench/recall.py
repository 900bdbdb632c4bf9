"""Recall inside one customer, on long dialogues whose evidence is known, beside plain BM25.

    python bench/recall.py dialogues.json --mode all

The file has the shape of LoCoMo: dialogues of many sessions, and questions with the turns that
answer them. It goes the product's own way: an audit log and a list of leads are written, loaded by
a backfill, one customer a dialogue, and the product's recall is asked. The baseline is bm25s with
an English stemmer and stop words on "speaker: text caption". Questions of the categories 1 to 4
count; the fifth asks for what was never said.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import bm25s
import Stemmer
from dialogues import Dialogue, Question, Turn, read_dialogues
from load import drop_schema, embedded_url, fresh_schema

from backstory import BackfillOptions, start
from backstory.config import Settings
from backstory.errors import BackstoryError
from backstory.extract.identity import customer_id, message_id
from backstory.model import Embedder, SearchMode
from backstory.search import embed_run
from backstory.search.embed import DEFAULT_MODEL, EmbeddingSettings, open_embedder
from backstory.search.recall import recall
from backstory.store.engine import Database

HERE = Path(__file__).parent
SCHEMA = "bench_recall"
DEPTH = 10
COUNTED = (1, 2, 3, 4)
METRICS = ("hit@1", "any@5", "any@10", "recall@5", "recall@10", "mrr", "all@10")
MODES = tuple(SearchMode)


@dataclass(frozen=True)
class Answer:
    """What a ranker made of a question: the best turns, and how long it took in milliseconds."""

    question: Question
    found: tuple[str, ...]
    ms: float


Ranker = Callable[[str], Sequence[str]]


# --- the product --------------------------------------------------------------------------------


def load(database: Database, dialogues: list[Dialogue], folder: Path) -> None:
    """Write the dialogues as an audit log with its leads, and backfill them."""
    audit, leads = folder / "audit.jsonl", folder / "leads.jsonl"
    _write(leads, (_lead(dialogue) for dialogue in dialogues))
    _write(audit, (record for dialogue in dialogues for record in _records(dialogue)))
    report = start(database, folder, BackfillOptions(audit=(str(audit),), leads=(str(leads),)))
    if not report.clean:
        raise SystemExit("The dialogues were not loaded whole: is the file damaged?")


def _write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _lead(dialogue: Dialogue) -> dict[str, Any]:
    began = dialogue.turns[0].at.isoformat()
    return {"id": dialogue.lead, "channel": "messenger", "created_at": began}


def _records(dialogue: Dialogue) -> Iterable[dict[str, Any]]:
    customer = dialogue.turns[0].speaker
    for turn in dialogue.turns:
        payload: dict[str, Any] = {"text": turn.text, "author": turn.speaker}
        if turn.caption:
            payload["attachments"] = [{"type": "image", "caption": turn.caption}]
        yield {
            "id": _audit_id(dialogue, turn),
            "lead_id": dialogue.lead,
            "actor": "customer" if turn.speaker == customer else "agent",
            "action": "message_received" if turn.speaker == customer else "message_sent",
            "payload": payload,
            "created_at": turn.at.isoformat(),
        }


def _audit_id(dialogue: Dialogue, turn: Turn) -> str:
    return f"{dialogue.lead}/{turn.name}"


def product(
    database: Database, dialogue: Dialogue, mode: SearchMode, embedder: Embedder | None
) -> Ranker:
    """Return the product's recall in the dialogue's customer."""
    person = uuid.UUID(bytes=customer_id(dialogue.lead))
    names = {
        uuid.UUID(bytes=message_id("audit", _audit_id(dialogue, turn))): turn.name
        for turn in dialogue.turns
    }

    def ask(question: str) -> list[str]:
        with database.engine.connect() as connection:
            answer = recall(connection, person, question, k=DEPTH, mode=mode, embedder=embedder)
        return [names[hit.message_id] for hit in answer.hits]

    return ask


# --- the baseline ---------------------------------------------------------------------------------


def baseline(dialogue: Dialogue) -> Ranker:
    """Return plain BM25 over the dialogue's turns."""
    stemmer = Stemmer.Stemmer("english")
    texts = [f"{turn.speaker}: {turn.text} {turn.caption}" for turn in dialogue.turns]
    ranker = bm25s.BM25()
    tokens = bm25s.tokenize(texts, stopwords="en", stemmer=stemmer, show_progress=False)
    ranker.index(tokens, show_progress=False)

    def ask(question: str) -> list[str]:
        asked = bm25s.tokenize([question], stopwords="en", stemmer=stemmer, show_progress=False)
        depth = min(DEPTH, len(texts))
        places, _ = ranker.retrieve(asked, k=depth, show_progress=False)
        return [dialogue.turns[place].name for place in places[0]]

    return ask


# --- the score ----------------------------------------------------------------------------------


def answers(dialogue: Dialogue, ask: Ranker) -> list[Answer]:
    """Ask every question that counts, in order."""
    found = []
    for question in dialogue.questions:
        if question.category in COUNTED:
            began = time.perf_counter()
            names = tuple(ask(question.text))
            found.append(Answer(question, names, (time.perf_counter() - began) * 1000))
    return found


def score(given: Sequence[Answer]) -> dict[str, Any]:
    """Return the metrics over some answers; all@10 is of questions with several turns."""
    several = [a for a in given if len(a.question.evidence) > 1]
    row: dict[str, Any] = {"questions": len(given), "several": len(several)}
    row |= {
        "hit@1": _mean(_hits(a, 1) > 0 for a in given),
        "any@5": _mean(_hits(a, 5) > 0 for a in given),
        "any@10": _mean(_hits(a, 10) > 0 for a in given),
        "recall@5": _mean(_hits(a, 5) / len(a.question.evidence) for a in given),
        "recall@10": _mean(_hits(a, 10) / len(a.question.evidence) for a in given),
        "mrr": _mean(_reciprocal_rank(a) for a in given),
        "all@10": _mean(_hits(a, 10) == len(a.question.evidence) for a in several),
    }
    times = sorted(a.ms for a in given)
    row["p50_ms"] = round(statistics.median(times), 2) if times else None
    row["p95_ms"] = round(times[max(0, -(-len(times) * 95 // 100) - 1)], 2) if times else None
    return row


def _hits(answer: Answer, depth: int) -> int:
    return len(answer.question.evidence & set(answer.found[:depth]))


def _reciprocal_rank(answer: Answer) -> float:
    for rank, name in zip(count(1), answer.found, strict=False):
        if name in answer.question.evidence:
            return 1 / rank
    return 0.0


def _mean(values: Iterable[float]) -> float | None:
    listed = list(values)
    return round(statistics.fmean(listed), 4) if listed else None


def report(given: Sequence[Answer]) -> dict[str, Any]:
    """Return the metrics overall and by category."""
    categories = sorted({a.question.category for a in given})
    return {
        "overall": score(given),
        "by_category": {
            str(c): score([a for a in given if a.question.category == c]) for c in categories
        },
    }


def table(result: dict[str, Any]) -> str:
    """Return the figures as a table for reading."""
    head = f"{'':24}" + "".join(f"{name:>10}" for name in ("n", *METRICS, "p50_ms", "p95_ms"))
    lines = [head]
    for ranker, figures in {"baseline": result["baseline"], **result["modes"]}.items():
        rows = {ranker: figures["overall"]}
        rows |= {f"  category {c}": row for c, row in figures["by_category"].items()}
        lines += [_line(name, row) for name, row in rows.items()]
    return "\n".join(lines)


def _line(name: str, row: dict[str, Any]) -> str:
    cells = [f"{row['questions']:>10}"]
    cells += [f"{'-' if row[m] is None else format(row[m], '.3f'):>10}" for m in METRICS]
    cells += [
        f"{'-' if row[m] is None else format(row[m], '.2f'):>10}" for m in ("p50_ms", "p95_ms")
    ]
    return f"{name:24}" + "".join(cells)


def measure(
    database: Database,
    dialogues: list[Dialogue],
    modes: Sequence[SearchMode],
    embedder: Embedder | None,
) -> dict[str, Any]:
    """Return the figures of the baseline and of each mode."""
    plain = [a for dialogue in dialogues for a in answers(dialogue, baseline(dialogue))]
    result: dict[str, Any] = {"baseline": report(plain), "modes": {}}
    for mode in modes:
        rankers = {d: product(database, d, mode, embedder) for d in dialogues}
        asked = [a for dialogue, ask in rankers.items() for a in answers(dialogue, ask)]
        result["modes"][mode.value] = report(asked)
    return result


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("--mode", choices=(*MODES, "all"), default="all")
    parser.add_argument("--database", default=Settings().database_url)
    parser.add_argument("--data", type=Path, default=HERE / "data")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="a model's name or directory")
    parser.add_argument("--home", type=Path, default=Settings().home, help="where models are")
    parser.add_argument("--keep", action="store_true", help="leave what was loaded in its schema")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _embedded(
    database: Database, wish: argparse.Namespace, folder: Path
) -> tuple[tuple[SearchMode, ...], Embedder | None]:
    """Embed what was loaded; return the modes that can be measured, and who embeds."""
    modes = MODES if wish.mode == "all" else (SearchMode(wish.mode),)
    if modes == (SearchMode.TEXT,):
        return modes, None
    try:
        embedder = open_embedder(EmbeddingSettings(wish.model), wish.home)
        embed_run.start(database, folder, embedder)
    except BackstoryError as failed:
        if wish.mode != "all":
            raise SystemExit(str(failed)) from failed
        sys.stderr.write(f"Only words were measured, not meaning: {failed}\n")
        return (SearchMode.TEXT,), None
    return modes, embedder


def main() -> None:
    """Load the dialogues, ask, print."""
    wish = _arguments()
    dialogues = read_dialogues(wish.path)
    if not dialogues:
        raise SystemExit(f"{wish.path} has no dialogue in which anything is said.")
    url = wish.database or embedded_url(wish.data)
    fresh_schema(url, SCHEMA)
    database = Database.open(url, SCHEMA)
    try:
        with tempfile.TemporaryDirectory() as folder:
            load(database, dialogues, Path(folder))
            modes, embedder = _embedded(database, wish, Path(folder))
            result = measure(database, dialogues, modes, embedder)
    finally:
        database.engine.dispose()
        if not wish.keep:
            drop_schema(url, SCHEMA)
    sys.stdout.write((json.dumps(result, indent=1) if wish.json else table(result)) + "\n")


if __name__ == "__main__":
    main()

"""Embeds messages as a run: planned, resumed where it stopped, safe to repeat, taken back whole.

The work is laid out as ranges of message ids. Each worker claims a range, embeds the messages in it
that the model has not embedded as they are now, and commits a batch together with the place it has
reached, while the model is at the next one. A model serves once a run of it has come to its end;
until then the one before it does.
"""

import threading
import time
import uuid
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine

from backstory.errors import Interrupted, LeaseLost, ModelError, RunError
from backstory.model import Embedder, RunMode, RunWish
from backstory.runs.claim import Claim, advance, claim_next, release, renew
from backstory.runs.journey import STAGE, add_run, end_run, lead_run, resumable, take_back
from backstory.runs.progress import Listener, Stopwatch
from backstory.runs.run import Run, short_id
from backstory.store import embeddings as store
from backstory.store.engine import Database, translated
from backstory.store.statements import sql

AUDIT_ACTION = "embed_messages"
BATCH = 256
_MESSAGES_A_PARTITION = 2_000
_MOST_PARTITIONS = 256
# Each holds a connection of the pool.
_MOST_WORKERS = 8
_IDS = 1 << 128
_LOOK_SECONDS = 0.1
# Well within a lease: a batch of long texts takes a slow machine, or a busy service, longer.
_RENEW_SECONDS = 5.0


@dataclass(frozen=True)
class EmbedPlan:
    """What a run would do: of so many messages so many are to be embedded; who serves now."""

    model: str
    dimensions: int
    messages: int
    pending: int
    serving: str | None


@dataclass(frozen=True)
class EmbedReport:
    """What a run has done: `embedded` of `messages`; from now on the model serves."""

    run_id: str
    mode: str
    model: str
    dimensions: int
    messages: int
    embedded: int
    seconds_by_step: dict[str, float]

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON."""
        return asdict(self)


def plan(connection: Connection, embedder: Embedder) -> EmbedPlan:
    """Return what a run would do; writes nothing."""
    extent = store.extent(connection, embedder.name)
    serving = store.serving_model(connection)
    return EmbedPlan(
        embedder.name, embedder.dimensions, *extent, serving=serving.name if serving else None
    )


def start(
    database: Database,
    home: Path,
    embedder: Embedder,
    listener: Listener | None = None,
    *,
    workers: int = 1,
) -> EmbedReport:
    """Embed every message that the model has not embedded as it is, and let the model serve.

    Raises Interrupted when the run was paused or canceled on the way; `resume` goes on.
    """
    with translated(), database.engine.begin() as connection:
        pending = store.extent(connection, embedder.name).pending
        parts = min(max(-(-pending // _MESSAGES_A_PARTITION), 1), _MOST_PARTITIONS)
        run_id = add_run(
            connection,
            home,
            mode=RunMode.EMBED,
            options={"model": embedder.name, "dimensions": embedder.dimensions, "parts": parts},
            records=pending,
            parts=parts,
        )
    return _go(database, run_id, embedder, listener, workers=workers)


def resume(
    database: Database,
    reference: str,
    embedder: Embedder,
    listener: Listener | None = None,
    *,
    workers: int = 1,
) -> EmbedReport:
    """Continue a run that was paused, failed or killed; raise RunError for another model's."""
    run = resumable(database, reference, RunMode.EMBED)
    if run.options["model"] != embedder.name:
        raise RunError(
            f"Run {short_id(run.id)} embeds with {run.options['model']}, not {embedder.name}: "
            "name that model, or cancel the run."
        )
    return _go(database, run.id, embedder, listener, workers=workers)


def rollback(database: Database, reference: str) -> int:
    """Take back what a run embedded; return how many vectors went.

    A model that the run completed serves no more; the one that was complete before does again.
    """
    return take_back(
        database,
        reference,
        RunMode.EMBED,
        table="embeddings",
        undo=lambda connection, run: {"removed": store.remove_run(connection, run)},
    )


# --- one journey ------------------------------------------------------------------------------


def _go(
    database: Database,
    run_id: uuid.UUID,
    embedder: Embedder,
    listener: Listener | None,
    *,
    workers: int,
) -> EmbedReport:
    def steps(connection: Connection, run: Run, watch: Stopwatch) -> EmbedReport:
        return _steps(connection, _Work(database.engine, run, embedder, workers), watch)

    return lead_run(database, run_id, steps, listener)


def _steps(connection: Connection, work: "_Work", watch: Stopwatch) -> EmbedReport:
    run, model = work.run, store.Model(work.embedder.name, work.embedder.dimensions)
    with connection.begin():
        store.remember_model(connection, model, run_id=run.id)
        known = store.model_dimensions(connection, model.name)
        if known != model.dimensions:
            raise RunError(
                f"{model.name} now has {model.dimensions} dimensions, its stored vectors {known}: "
                "take its runs back, or give the model another name."
            )
        done = _progress(connection, run)
    watch.begin("embed", total=run.records_read)
    watch.go_on_from(done.records)
    _finish(connection, work, watch)
    watch.begin("index")
    with connection.begin():
        store.complete(connection, model, run_id=run.id)
        return _report(connection, run, model, watch)


def _report(connection: Connection, run: Run, model: store.Model, watch: Stopwatch) -> EmbedReport:
    watch.end()
    report = EmbedReport(
        run_id=str(run.id),
        mode=RunMode.EMBED,
        model=model.name,
        dimensions=model.dimensions,
        messages=store.extent(connection, model.name).messages,
        embedded=int(_progress(connection, run).records),
        seconds_by_step=watch.seconds,
    )
    end_run(connection, run, AUDIT_ACTION, report=report.as_json(), watch=watch)
    return report


def _progress(connection: Connection, run: Run) -> Any:
    return connection.execute(sql("stage_progress"), {"run_id": run.id, "stage": STAGE}).one()


# --- the workers ------------------------------------------------------------------------------


@dataclass
class _Work:
    """What the workers of a run share; `stopping` is set once one of them has failed."""

    engine: Engine
    run: Run
    embedder: Embedder
    workers: int

    def __post_init__(self) -> None:
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.embedded = 0

    def count(self, more: int) -> None:
        """Add to what all workers have embedded."""
        with self.lock:
            self.embedded += more


def _finish(connection: Connection, work: _Work, watch: Stopwatch) -> None:
    """Work until every part is done, whoever else works on the run."""
    with connection.begin():
        before = _progress(connection, work.run)
    while True:
        _share_out(work, watch, before.records)
        with connection.begin():
            after = _progress(connection, work.run)
        if after.done == after.partitions:
            return
        time.sleep(_LOOK_SECONDS)


def _share_out(work: _Work, watch: Stopwatch, before: int) -> None:
    workers = min(max(work.workers, 1), _MOST_WORKERS)
    with ThreadPoolExecutor(workers, thread_name_prefix="embed") as pool:
        tasks = [pool.submit(_worker, work) for _ in range(workers)]
        try:
            while wait(tasks, timeout=_LOOK_SECONDS).not_done:
                watch.tell(before + work.embedded)
        finally:
            # After an interrupt here; otherwise nobody is left to hear it.
            work.stopping.set()
    work.stopping.clear()
    watch.tell(before + work.embedded)
    for task in tasks:
        task.result()


def _worker(work: _Work) -> None:
    """Do parts until there is none left; one that fails stops the others."""
    with work.engine.connect() as connection, translated():
        try:
            while not work.stopping.is_set() and (claim := _claim(connection, work)):
                # A worker that was thought dead leaves the part to who has it now.
                with suppress(LeaseLost):
                    _do_part(connection, work, claim)
        except BaseException:
            work.stopping.set()
            raise
        finally:
            if not connection.closed and not connection.invalidated:
                connection.rollback()
                with connection.begin():
                    release(connection, work.run.id)


def _claim(connection: Connection, work: _Work) -> Claim | None:
    with connection.begin():
        return claim_next(connection, work.run.id, STAGE)


def _do_part(connection: Connection, work: _Work, claim: Claim) -> None:
    """Embed batch by batch: while the model is at one, the one before is kept, the next read."""
    after, upto = _range(claim, work.run.options["parts"])
    part = _Part(connection, work, claim, done=int(claim.counts.get("records", 0)))
    model = ThreadPoolExecutor(1, thread_name_prefix="embed-ahead")
    begun: _Begun | None = None
    try:
        while not work.stopping.is_set():
            wanted, texts = part.read(after, upto)
            coming = None
            if texts and not wanted:
                said = [text.said for text in texts]
                coming = _Begun(texts, model.submit(work.embedder.embed, said))
            if begun:
                part.keep(begun)
            if wanted:
                raise Interrupted(wanted)
            if not coming:
                return part.end(upto)
            begun, after = coming, texts[-1].message_id
    finally:
        model.shutdown(cancel_futures=True)


@dataclass
class _Begun:
    """A batch that the model is at, or will be next."""

    texts: list[store.Text]
    vectors: "Future[list[list[float]]]"


@dataclass
class _Part:
    """A part under work, `done` of it so far, by a worker with a connection of its own."""

    connection: Connection
    work: _Work
    claim: Claim
    done: int

    def read(self, after: uuid.UUID, upto: uuid.UUID) -> tuple[RunWish | None, list[store.Text]]:
        """Return what is wished of the run, and the next batch."""
        model = self.work.embedder.name
        with self.connection.begin():
            wanted = renew(self.connection, self.claim)
            texts = store.next_texts(self.connection, model, after=after, upto=upto, limit=BATCH)
        return wanted, texts

    def keep(self, begun: _Begun) -> None:
        """Wait for a batch, the claim kept alive meanwhile; commit it with the place it reached."""
        while not wait([begun.vectors], timeout=_RENEW_SECONDS).done:
            with self.connection.begin():
                renew(self.connection, self.claim)
        vectors, run = begun.vectors.result(), self.work.run
        _check_lengths(vectors, self.work.embedder)
        self.done += len(vectors)
        with self.connection.begin():
            store.add(
                self.connection,
                begun.texts,
                vectors,
                model=self.work.embedder.name,
                run_id=run.id,
            )
            self._advance(begun.texts[-1].message_id, done=False)
        self.work.count(len(vectors))

    def end(self, upto: uuid.UUID) -> None:
        """Commit that nothing is left of it."""
        with self.connection.begin():
            self._advance(upto, done=True)

    def _advance(self, reached: uuid.UUID, *, done: bool) -> None:
        counts = {"records": self.done}
        advance(self.connection, self.claim, cursor=reached.bytes, counts=counts, done=done)


def _check_lengths(vectors: list[list[float]], embedder: Embedder) -> None:
    """Raise ModelError for vectors of another length than the model began with."""
    for length in {len(vector) for vector in vectors} - {embedder.dimensions}:
        raise ModelError(
            f"{embedder.name} began with {embedder.dimensions} dimensions and gave a vector of "
            f"{length}: is another model behind it now?"
        )


def _range(claim: Claim, parts: int) -> tuple[uuid.UUID, uuid.UUID]:
    """Return the id behind which a part goes on, and the last id of it."""
    begin, end = (_IDS * number // parts for number in (claim.number, claim.number + 1))
    after = int.from_bytes(claim.cursor) if claim.cursor else max(begin - 1, 0)
    return uuid.UUID(int=after), uuid.UUID(int=end - 1)

"""What messages mean, in the database: what is to be embedded, the vectors, the serving model."""

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from typing import Any, NamedTuple

from psycopg import sql as compose
from sqlalchemy import Connection, Result, TextClause, text

from backstory.store.engine import driver_of, translated
from backstory.store.search import Key, Scope
from backstory.store.statements import sql, statements

# What HNSW takes of half precision; longer vectors are searched one by one.
_MOST_INDEXED = 4_000


class Extent(NamedTuple):
    """How many messages can be embedded, and how many still are to be, by one model."""

    messages: int
    pending: int


class Text(NamedTuple):
    """What a message says, to be embedded: author, text and captions, with its hash."""

    message_id: uuid.UUID
    said: str
    content_hash: bytes


class Model(NamedTuple):
    """A model whose vectors are stored."""

    name: str
    dimensions: int


class StoredModel(NamedTuple):
    """A model that has embedded so many messages; `complete` once a run has come to its end."""

    name: str
    dimensions: int
    messages: int
    complete: bool


class OfRun(NamedTuple):
    """What a run has left: vectors, and models that it completed."""

    embeddings: int
    models: list[str]


def extent(connection: Connection, model: str) -> Extent:
    """Return how much there is to embed."""
    with translated():
        row = connection.execute(sql("embedding_extent"), {"model": model}).one()
    return Extent(row.messages, row.pending)


def next_texts(
    connection: Connection, model: str, *, after: uuid.UUID, upto: uuid.UUID, limit: int
) -> list[Text]:
    """Return the next messages to embed whose ids lie behind `after`, up to `upto`."""
    asked = {"model": model, "after": after, "upto": upto, "limit": limit}
    with translated():
        return [Text(*row) for row in connection.execute(sql("next_to_embed"), asked)]


def add(
    connection: Connection,
    said: Sequence[Text],
    vectors: Sequence[Sequence[float]],
    *,
    model: str,
    run_id: uuid.UUID,
) -> None:
    """Keep a vector for each text that was `said`."""
    given = {
        "model": model,
        "run_id": run_id,
        "ids": [each.message_id for each in said],
        "hashes": [each.content_hash for each in said],
        "vectors": [as_halfvec(vector) for vector in vectors],
    }
    with translated():
        connection.execute(sql("add_embeddings"), given)


def as_halfvec(vector: Sequence[float]) -> str:
    """Return a vector as the database reads it; half precision has three digits."""
    return "[" + ",".join(f"{value:.5g}" for value in vector) + "]"


def remember_model(connection: Connection, model: Model, *, run_id: uuid.UUID) -> None:
    """Write a model down if it is new, or if what was known of it has left no vector."""
    with translated():
        _drop_indexes(connection, connection.execute(sql("forget_bare_model"), model._asdict()))
        connection.execute(sql("remember_model"), {**model._asdict(), "run_id": run_id})


def model_dimensions(connection: Connection, name: str) -> int | None:
    """Return how long the stored vectors of a model are, None for a model that has none."""
    with translated():
        found: int | None = connection.execute(
            sql("model_dimensions"), {"name": name}
        ).scalar_one_or_none()
    return found


def serving_model(connection: Connection) -> Model | None:
    """Return the model whose vectors recall and search use, None before the first is complete."""
    with translated():
        row = connection.execute(sql("serving_model")).one_or_none()
    return Model(*row) if row else None


def models(connection: Connection) -> list[StoredModel]:
    """Return the models that have embedded messages, the last one first."""
    with translated():
        return [StoredModel(*row) for row in connection.execute(sql("embedding_models"))]


def complete(connection: Connection, model: Model, *, run_id: uuid.UUID) -> None:
    """Let a model serve, with an index of its own for the whole business."""
    if model.dimensions <= _MOST_INDEXED:
        _index(connection, model)
    with translated():
        connection.execute(sql("complete_model"), {"name": model.name, "run_id": run_id})
        connection.execute(sql("analyze_embeddings"))


def _index(connection: Connection, model: Model) -> None:
    statement = compose.SQL(
        "CREATE INDEX IF NOT EXISTS {name} ON embeddings "
        "USING hnsw ((vector::halfvec({dimensions})) halfvec_cosine_ops) WHERE model = {model}"
    ).format(
        name=compose.Identifier(index_name(model.name)),
        dimensions=compose.Literal(model.dimensions),
        model=compose.Literal(model.name),
    )
    with translated():
        driver_of(connection).execute(statement)


def nearest(
    connection: Connection,
    scope: Scope,
    vector: Sequence[float],
    *,
    model: Model,
    limit: int,
    demanded: str | None = None,
) -> list[Key]:
    """Return the places of the messages nearest in meaning in a scope, the cosine as the score.

    Of the words only those count that are `demanded`: a query which each of the messages matches.
    Through the model's index; where filters leave too little of what it finds, or one customer or
    lead is asked for, the scope is looked at as a whole, so that nothing is ever missing.
    """
    asked = asdict(scope) | {
        "vector": as_halfvec(vector),
        "model": model.name,
        "limit": limit,
        "demanded": demanded,
    }
    with translated():
        if scope.customer_id is None and scope.lead_id is None:
            connection.execute(sql("tune_for_meaning"))
            found = _keys(connection, _by_index(model.dimensions), asked)
            if len(found) == limit:
                return found
        return _keys(connection, sql("nearest_exactly"), asked)


def _keys(connection: Connection, statement: TextClause, asked: dict[str, Any]) -> list[Key]:
    rows = connection.execute(statement, asked)
    return [Key(row.cosine, row.created_at, row.id) for row in rows]


@cache
def _by_index(dimensions: int) -> TextClause:
    """Return the statement for vectors of a length, which an index on a cast has to be told."""
    body = statements()["nearest_by_index"].body
    return text(body.replace("halfvec(1)", f"halfvec({dimensions})"))


def cosines(
    connection: Connection, vector: Sequence[float], ids: Sequence[uuid.UUID], *, model: str
) -> dict[uuid.UUID, float]:
    """Return how near some messages are in meaning, by id."""
    asked = {"vector": as_halfvec(vector), "model": model, "ids": list(ids)}
    with translated():
        return {row.id: row.cosine for row in connection.execute(sql("cosines_of"), asked)}


def of_run(connection: Connection, run_id: uuid.UUID) -> OfRun:
    """Return what a run has left."""
    with translated():
        return OfRun(*connection.execute(sql("embeddings_of_run"), {"run_id": run_id}).one())


def remove_run(connection: Connection, run_id: uuid.UUID) -> int:
    """Take a run's vectors away, and the models it completed out of service; return how many."""
    with translated():
        removed = connection.execute(sql("remove_embeddings"), {"run_id": run_id}).rowcount
        _drop_indexes(connection, connection.execute(sql("retire_models"), {"run_id": run_id}))
    return removed


def _drop_indexes(connection: Connection, forgotten: Result[Any]) -> None:
    """Drop the indexes of models that were forgotten."""
    for name in forgotten.scalars().all():
        driver_of(connection).execute(
            compose.SQL("DROP INDEX IF EXISTS {}").format(compose.Identifier(index_name(name)))
        )


def index_name(model: str) -> str:
    """Return the name of a model's index."""
    return f"embeddings_{hashlib.md5(model.encode(), usedforsecurity=False).hexdigest()[:12]}_hnsw"

"""Turns a question into a vector, if the model that it is asked of is the one that serves."""

from collections.abc import Sequence

from sqlalchemy import Connection

from backstory.errors import ModelError, ModelUnreachable, UsageError
from backstory.model import Embedder, Embedders, SearchMode
from backstory.store.embeddings import Model, serving_model
from backstory.store.recall import Meaning

_BRING = "`backstory model install`, then `backstory embed`, lets meaning count"


def meant(
    connection: Connection,
    text: str,
    *,
    embedder: Embedder | None,
    mode: SearchMode | None,
    embedders: Embedders | None = None,
) -> tuple[SearchMode, Meaning | None, str | None]:
    """Return how to rank, the question's vector, and why it has none although a model was given.

    Without an `embedder` that of the serving model is looked for among the `embedders`. Without a
    mode, what can be had: words alone where no model serves or it does not answer. Raises
    UsageError where meaning was asked for and cannot be had.
    """
    if mode is SearchMode.TEXT or (mode is None and embedder is None and embedders is None):
        return SearchMode.TEXT, None, None
    serving = serving_model(connection)
    if embedder is None and embedders is not None:
        if mode is None and serving is None:
            # Nobody embeds here: nothing lacks.
            return SearchMode.TEXT, None, None
        embedder = embedders.named(serving.name) if serving else None
    lacking = _lacking(serving, embedder)
    if lacking is None and embedder is not None:
        try:
            (vector,) = embedder.embed([text], asking=True)
        except (ModelUnreachable, ModelError) as silent:
            if mode is not None:
                raise
            lacking = str(silent)
        else:
            lacking = _incomparable(serving, vector)
            if lacking is None:
                return mode or SearchMode.HYBRID, Meaning(embedder.name, vector), None
    if mode is not None:
        raise UsageError(lacking or "")
    return SearchMode.TEXT, None, lacking


def _incomparable(serving: Model | None, vector: Sequence[float]) -> str | None:
    """Return in a sentence why a vector cannot be compared with those that are stored."""
    if serving is None or len(vector) == serving.dimensions:
        return None
    return (
        f"{serving.name} now answers with {len(vector)} dimensions, its stored vectors have "
        f"{serving.dimensions}: they cannot be compared. `backstory rollback` of its runs and "
        "`backstory embed` embed the messages anew, or another name makes it another model."
    )


def _lacking(serving: Model | None, embedder: Embedder | None) -> str | None:
    """Return in a sentence what keeps meaning from counting, None if nothing does."""
    if serving is None:
        return f"No message has been embedded: {_BRING}."
    if embedder is None:
        return f"The messages are embedded by {serving.name}, which is not to be had: {_BRING}."
    if embedder.name != serving.name:
        return (
            f"The messages are embedded by {serving.name}, not by {embedder.name}: "
            "`backstory embed` with that model lets it serve."
        )
    return None

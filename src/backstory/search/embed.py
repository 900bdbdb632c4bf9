"""Finds who can turn texts into vectors of their meaning: models here, or behind an endpoint.

A model's name tells its kind, so that the vectors that are stored can be asked again later:
`all-minilm-l6-v2-int8@8199be6f` is a directory of that name whose model has this hash, and
`text-embedding-3-small@api.example.com` is a model behind an endpoint.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from pathlib import Path
from time import monotonic

from backstory.errors import ModelError, UsageError
from backstory.model import Embedder

MODELS = "models"
DEFAULT_MODEL = "all-minilm-l6-v2-int8"
# A model that was not to be had is looked for again, but not at each call.
MISSING_SECONDS = 60.0


@dataclass(frozen=True)
class EmbeddingSettings:
    """Which model embeds: a directory or a name below the home, or a model behind an endpoint.

    `url` is the base of an OpenAI-compatible service (`/embeddings` is added); `key` its key.
    """

    model: str = DEFAULT_MODEL
    url: str | None = None
    key: str | None = None


def open_embedder(settings: EmbeddingSettings, home: Path, *, threads: int = 0) -> Embedder:
    """Return the embedder of the settings; raise UsageError, with the remedy, if there is none."""
    if settings.url:
        from backstory.search.embed_endpoint import EndpointEmbedder  # noqa: PLC0415 - most never ask one

        return EndpointEmbedder(settings.url, settings.model, key=settings.key)
    directory = model_directory(settings.model, home)
    if directory is None:
        raise UsageError(
            f"There is no model {settings.model!r}: `backstory model install` brings "
            f"{DEFAULT_MODEL}, and --model takes a directory with model.onnx and tokenizer.json."
        )
    from backstory.search.embed_local import LocalEmbedder  # noqa: PLC0415 - loads for a second

    return LocalEmbedder(directory, threads=threads)


def find_embedder(settings: EmbeddingSettings, home: Path, *, name: str) -> Embedder | None:
    """Return an embedder for vectors that are stored under `name`, None if it is not to be had."""
    model = name.rpartition("@")[0]
    given = EmbeddingSettings(model, settings.url, settings.key)
    for each in (settings, given, EmbeddingSettings(model)):
        try:
            found = open_embedder(each, home)
            if found.name == name:
                return found
        except (UsageError, ModelError):
            continue
    return None


class FoundOnce:
    """The embedders of the settings, each loaded when it is first asked for, and kept.

    Many threads may share it. `ticks` counts the seconds until one is looked for again.
    """

    def __init__(
        self, settings: EmbeddingSettings, home: Path, *, ticks: Callable[[], float] = monotonic
    ) -> None:
        self._settings = settings
        self._home = home
        self._ticks = ticks
        self._lock = threading.Lock()
        self._found: dict[str, tuple[Embedder | None, float]] = {}

    def named(self, name: str) -> Embedder | None:
        """Return the one whose vectors are stored under `name`, None if it is not to be had."""
        with self._lock:
            embedder, looked = self._found.get(name, (None, -inf))
            if embedder is None and self._ticks() - looked >= MISSING_SECONDS:
                embedder = find_embedder(self._settings, self._home, name=name)
                self._found[name] = embedder, self._ticks()
            return embedder


def model_directory(model: str, home: Path) -> Path | None:
    """Return the directory of a local model: a path, or a name of one below the home."""
    for directory in (home / MODELS / model, Path(model).expanduser()):
        if (directory / "tokenizer.json").is_file():
            return directory.absolute()
    return None


def local_models(home: Path) -> list[str]:
    """Return the names of the models below the home."""
    return sorted(file.parent.name for file in (home / MODELS).glob("[!.]*/tokenizer.json"))

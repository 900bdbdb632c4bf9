"""Turns texts into vectors of their meaning: the protocol, and who can do it.

A model's name tells its kind, so that the vectors that are stored can be asked again later:
`all-minilm-l6-v2-int8@8199be6f` is a directory of that name whose model has this hash, and
`text-embedding-3-small@api.example.com` is a model behind an endpoint.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from backstory.errors import UsageError

MODELS = "models"
DEFAULT_MODEL = "all-minilm-l6-v2-int8"


class Embedder(Protocol):
    """Something that knows what texts mean.

    `name` says which model it is, for good: vectors of one name can be compared with one another.
    """

    @property
    def name(self) -> str:
        """The model's name, under which its vectors are stored."""

    @property
    def dimensions(self) -> int:
        """How long its vectors are."""

    def embed(self, texts: Sequence[str], *, asking: bool = False) -> list[list[float]]:
        """Return a vector of length 1 for each text, in order; `asking`: the texts are questions.

        Raises ModelUnreachable where another try may help, ModelError where none will.
        """


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
        except UsageError:
            continue
        if found.name == name:
            return found
    return None


def model_directory(model: str, home: Path) -> Path | None:
    """Return the directory of a local model: a path, or a name of one below the home."""
    for directory in (home / MODELS / model, Path(model).expanduser()):
        if (directory / "tokenizer.json").is_file():
            return directory.absolute()
    return None


def local_models(home: Path) -> list[str]:
    """Return the names of the models below the home."""
    return sorted(file.parent.name for file in (home / MODELS).glob("[!.]*/tokenizer.json"))

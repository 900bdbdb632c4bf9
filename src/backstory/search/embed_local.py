"""Embeds with a sentence model in a directory, by ONNX Runtime, on this machine and offline."""

import hashlib
import json
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

from backstory.config import cores
from backstory.errors import ModelError, UsageError

try:
    # An extra: types that may not be there are of no use to a checker.
    numpy: Any = import_module("numpy")
    onnxruntime: Any = import_module("onnxruntime")
    tokenizers: Any = import_module("tokenizers")
except ImportError as missing:
    raise UsageError(
        f"A local model needs {missing.name}: pip install 'backstory[semantic]'."
    ) from missing

# The runtime's own errors have no common root.
_RUNTIME_ERRORS: tuple[type[Exception], ...] = tuple(
    kind
    for kind in vars(import_module("onnxruntime.capi.onnxruntime_pybind11_state")).values()
    if isinstance(kind, type) and issubclass(kind, Exception)
)
_PLACES = ("model.onnx", "onnx/model.onnx", "model_quantized.onnx", "onnx/model_quantized.onnx")
_MOST_TOKENS = 256
# Short texts go together: a batch is as wide as its longest, and the rest of it is wasted. On one
# core more of them at once are hardly faster.
_BATCH_TOKENS = 2048
_BATCH_TEXTS = 16
_HASHED = 1 << 20


class LocalEmbedder:
    """A sentence model: `model.onnx` (or `onnx/model.onnx`) beside `tokenizer.json`.

    Pools by mean, or by the first token where `1_Pooling/config.json` says so; what is put before
    questions and texts stands in `config_sentence_transformers.json` under `prompts`. So many
    batches run at once as there are `threads`, 0 for as many as the process has cores.
    """

    def __init__(self, directory: Path, *, threads: int = 0) -> None:
        self._directory = directory
        self._threads = threads or cores()
        self._model = _model_file(directory)
        self._lock = threading.Lock()

    @cached_property
    def name(self) -> str:
        """The directory's name and the beginning of the model's hash."""
        digest = hashlib.sha256()
        with self._model.open("rb") as file:
            while block := file.read(_HASHED):
                digest.update(block)
        return f"{self._directory.name}@{digest.hexdigest()[:8]}"

    @cached_property
    def dimensions(self) -> int:
        """How long its vectors are."""
        return len(self.embed(["."])[0])

    def embed(self, texts: Sequence[str], *, asking: bool = False) -> list[list[float]]:
        """Return a vector of length 1 for each text, in order."""
        prompt = self._prompts["query" if asking else "passage"]
        with self._lock:
            session, tokenizer, pool = self._session, self._tokenizer, self._pool
        found = [each.ids for each in tokenizer.encode_batch([prompt + text for text in texts])]
        batches = list(_batches([len(tokens) for tokens in found]))

        def run(batch: Sequence[int]) -> list[list[float]]:
            return self._run(session, [found[number] for number in batch])

        done = map(run, batches) if len(batches) == 1 else pool.map(run, batches)
        vectors: list[list[float]] = [[] for _ in texts]
        for batch, made in zip(batches, done, strict=True):
            for number, vector in zip(batch, made, strict=True):
                vectors[number] = vector
        return vectors

    def _run(self, session: Any, batch: Sequence[Sequence[int]]) -> list[list[float]]:
        ids = numpy.zeros((len(batch), max(map(len, batch))), dtype=numpy.int64)
        mask = numpy.zeros_like(ids)
        for row, tokens in enumerate(batch):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": numpy.zeros_like(ids)}
        wanted = {each.name: given[each.name] for each in session.get_inputs()}
        return self._pooled(session.run(None, wanted)[0], mask)

    def _pooled(self, hidden: Any, mask: Any) -> list[list[float]]:
        if hidden.ndim == 2:  # noqa: PLR2004 - the model pools itself: texts by dimensions
            pooled = hidden
        elif self._takes_first:
            pooled = hidden[:, 0]
        else:
            weights = mask[:, :, None].astype(hidden.dtype)
            pooled = (hidden * weights).sum(axis=1) / numpy.maximum(weights.sum(axis=1), 1)
        # A text without a word has no direction of its own; nearness to none has no value.
        pooled = numpy.where(pooled.any(axis=1, keepdims=True), pooled, 1.0)
        unit: list[list[float]] = (
            pooled / numpy.linalg.norm(pooled, axis=1, keepdims=True)
        ).tolist()
        return unit

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._threads, thread_name_prefix="model")

    @cached_property
    def _session(self) -> Any:
        options = onnxruntime.SessionOptions()
        # Whole batches side by side waste less than one that is divided: threads that share it
        # wait for one another many times in each, and burn their core as they do.
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        try:
            return onnxruntime.InferenceSession(
                str(self._model), options, providers=["CPUExecutionProvider"]
            )
        except _RUNTIME_ERRORS as bad:
            raise ModelError(f"{self._model} cannot be loaded: {bad}") from bad

    @cached_property
    def _tokenizer(self) -> Any:
        file = self._directory / "tokenizer.json"
        # What it raises itself has no kind: the file is looked at before.
        if "model" not in _json(file):
            raise ModelError(f"{file} is no tokenizer.")
        tokenizer = tokenizers.Tokenizer.from_file(str(file))
        tokenizer.no_padding()
        tokenizer.enable_truncation(_MOST_TOKENS)
        return tokenizer

    @cached_property
    def _takes_first(self) -> bool:
        pooling = _json(self._directory / "1_Pooling" / "config.json")
        return bool(pooling.get("pooling_mode_cls_token"))

    @cached_property
    def _prompts(self) -> dict[str, str]:
        prompts = _json(self._directory / "config_sentence_transformers.json").get("prompts") or {}
        passage = prompts.get("passage") or prompts.get("document") or ""
        return {"query": str(prompts.get("query") or ""), "passage": str(passage)}


def _model_file(directory: Path) -> Path:
    for place in _PLACES:
        if (directory / place).is_file():
            return directory / place
    raise UsageError(f"{directory} has no model: put model.onnx (or onnx/model.onnx) there.")


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield the numbers of texts that go together, the long ones first: what ends last is short."""
    batch: list[int] = []
    for number in sorted(range(len(lengths)), key=lambda each: -lengths[each]):
        widest = lengths[batch[0]] if batch else 0
        full = len(batch) >= _BATCH_TEXTS or (len(batch) + 1) * widest > _BATCH_TOKENS
        if batch and full:
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as bad:
        raise ModelError(f"{file} cannot be read: {bad}") from bad
    return found if isinstance(found, dict) else {}

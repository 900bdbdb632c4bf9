"""Makes a real sentence model of a few words: ONNX beside a tokenizer, as a model directory has."""

import struct
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

# Words of a line mean the same to the model; all others mean nothing in particular.
TOPICS = (
    ("dog", "puppy", "terrier", "pet"),
    ("truck", "vehicle", "van", "car"),
    ("gate", "door", "entrance", "key", "locked"),
    ("rain", "storm", "weather", "wet"),
    ("price", "quote", "cost", "expensive"),
)
NOTHING = 0.05


def make_model(directory: Path, *, topics: tuple[tuple[str, ...], ...] = TOPICS) -> Path:
    """Write a model directory; its vectors have a dimension for each topic and one for the rest."""
    directory.mkdir(parents=True, exist_ok=True)
    words = [word for topic in topics for word in topic]
    vocabulary = {"[UNK]": 0, **{word: number for number, word in enumerate(words, 1)}}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))  # noqa: S106 - a word
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(directory / "tokenizer.json"))
    width = len(topics) + 1
    rows = [[0.0] * len(topics) + [NOTHING]]
    for number, topic in enumerate(topics):
        rows += [[1.0 if at == number else 0.0 for at in range(width)] for _ in topic]
    (directory / "model.onnx").write_bytes(_model(rows))
    return directory


# --- ONNX is protobuf: fields of a number, a kind and a content ----------------------------------


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes | str) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(raw)) + raw


def _tensor_type(name: str, kind: int, *dims: str) -> bytes:
    shape = b"".join(_bytes(1, _bytes(2, dim)) for dim in dims)
    return _bytes(1, name) + _bytes(2, _bytes(1, _number(1, kind) + _bytes(2, shape)))


def _model(rows: list[list[float]]) -> bytes:
    """Return a model that looks each token's vector up."""
    floats, integers = 1, 7
    raw = struct.pack(f"<{len(rows) * len(rows[0])}f", *(value for row in rows for value in row))
    table = (
        _number(1, len(rows)) + _number(1, len(rows[0])) + _number(2, floats)
        + _bytes(8, "table") + _bytes(9, raw)
    )  # fmt: skip
    gather = (
        _bytes(1, "table") + _bytes(1, "input_ids") + _bytes(2, "last_hidden_state")
        + _bytes(4, "Gather")
    )  # fmt: skip
    graph = (
        _bytes(1, gather) + _bytes(2, "lookup") + _bytes(5, table)
        + _bytes(11, _tensor_type("input_ids", integers, "batch", "words"))
        + _bytes(11, _tensor_type("attention_mask", integers, "batch", "words"))
        + _bytes(12, _tensor_type("last_hidden_state", floats, "batch", "words", "width"))
    )  # fmt: skip
    return _number(1, 8) + _bytes(7, graph) + _bytes(8, _bytes(1, "") + _number(2, 13))

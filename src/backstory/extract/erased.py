"""What was erased, known by keyed hashes alone: it is recognised and cannot be read back."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256

from backstory.extract.identity import lead_id
from backstory.extract.parse import clean_text

_LEAD_NAMES = ("lead_id", "leadId")


def tombstone(secret: bytes, key: bytes) -> bytes:
    """Return the 32 bytes that stand for an erased id of 16 bytes.

    An id of ours is a plain hash of an id from outside, which may be a phone: whoever holds a list
    of phones could try them all. With a secret before it, only its holder can. The statement
    `live_facts` does the same in SQL.
    """
    return sha256(secret + key).digest()


@dataclass(frozen=True)
class Erased:
    """The leads that were erased; asked by a lead's key, as `in` any other set of keys."""

    secret: bytes = b""
    digests: frozenset[bytes] = frozenset()

    @classmethod
    def of(cls, keys: Iterable[bytes], *, secret: bytes = b"") -> "Erased":
        """Return these keys as erased ones."""
        return cls(secret, frozenset(tombstone(secret, key) for key in keys))

    def __contains__(self, key: bytes) -> bool:
        return bool(self.digests) and tombstone(self.secret, key) in self.digests

    def __len__(self) -> int:
        return len(self.digests)


def leads_named(raw: bytes, columns: Mapping[str, str]) -> Iterator[bytes]:
    """Yield the keys of the leads that a record names which cannot be read as a whole.

    A torn line, or one without a time, may still say whose it is; `columns` gives the source's
    name for a field of ours.
    """
    names = {*_LEAD_NAMES, columns.get("lead_id") or _LEAD_NAMES[0]}
    named = b"|".join(re.escape(name.encode()) for name in sorted(names))
    said = rb'"(?:%s)"\s*:\s*(?:"((?:[^"\\]|\\.)*)"|(-?\d+)(?!\d))' % named
    for text, number in re.findall(said, raw):
        yield lead_id(_unescaped(text) if text else number.decode())


def _unescaped(text: bytes) -> str:
    written = text.decode("utf-8", "replace")
    try:
        return clean_text(json.loads(f'"{written}"', strict=False))[0]
    except ValueError:
        return written

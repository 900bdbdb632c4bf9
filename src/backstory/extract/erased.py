"""What was erased, known by keyed hashes alone: it is recognised and cannot be read back."""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256


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

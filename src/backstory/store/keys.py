"""Keeps the keys of a business, by their digests only, and the secret that signs its sessions.

A key is 32 random bytes, so its SHA-256 cannot be turned back by trying: a slow hash, which
protects passwords that people choose, would only make every request slow. Looking a digest up tells
nothing by its time either, because who asks cannot choose the digest of what they send.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4, uuid5

from sqlalchemy import Connection

from backstory.errors import UsageError
from backstory.model import KeyProfile
from backstory.store.statements import sql

PREFIX = "bsk_"
MAX_NAME = 80
_RANDOM_BYTES = 32
_SECRET_BYTES = 64
# One secret a business: whoever makes it first makes it under this id.
_SIGNING_KEY = uuid5(UUID(int=0), "backstory session tokens")


@dataclass(frozen=True)
class ApiKey:
    """A key as it is kept; times are UTC, `last_used_at` is exact to a minute."""

    id: UUID
    name: str
    profile: KeyProfile
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


def create_key(
    connection: Connection, name: str, profile: KeyProfile = KeyProfile.AGENT
) -> tuple[ApiKey, str]:
    """Make a key; return it as it is kept, and its text, which is nowhere afterwards."""
    called = " ".join(name.split())
    if not called or len(called) > MAX_NAME or not called.isprintable():
        raise UsageError(
            f"A key has a name of 1 to {MAX_NAME} printable characters: who is to use it."
        )
    text = f"{PREFIX}{profile}_{secrets.token_urlsafe(_RANDOM_BYTES)}"
    values = {"id": uuid4(), "name": called, "profile": profile, "digest": digest(text)}
    return _key(connection.execute(sql("add_key"), values).one()), text


def use_key(
    connection: Connection, *, digest: bytes | None = None, key_id: UUID | None = None
) -> ApiKey | None:
    """Return the key with this digest or this id, None if it is unknown or revoked."""
    row = connection.execute(sql("use_key"), {"digest": digest, "id": key_id}).one_or_none()
    return None if row is None else _key(row)


def list_keys(connection: Connection) -> list[ApiKey]:
    """Return all keys, revoked ones too, the newest first."""
    return [_key(row) for row in connection.execute(sql("list_keys"), {"prefix": None})]


def revoke_key(connection: Connection, reference: str) -> ApiKey:
    """Take the one key out of use whose id begins so; raise UsageError if there is not just one."""
    prefix = reference.strip().lower()
    found = connection.execute(sql("list_keys"), {"prefix": prefix}).all() if prefix else []
    if len(found) != 1:
        raise UsageError(
            f"{'Several keys have' if found else 'No key has'} an id that begins with "
            f"{reference!r}: `backstory key list` shows them."
        )
    return _key(connection.execute(sql("revoke_key"), {"id": found[0].id}).one())


def signing_secret(connection: Connection) -> bytes:
    """Return the secret that signs the sessions of this business, made when first asked for."""
    asked = {"id": _SIGNING_KEY}
    kept = connection.execute(sql("signing_key"), asked).scalar()
    if kept is None:
        made = secrets.token_bytes(_SECRET_BYTES)
        connection.execute(sql("add_signing_key"), asked | {"secret": made})
        kept = connection.execute(sql("signing_key"), asked).scalar_one()
    return bytes(kept)


def digest(text: str) -> bytes:
    """Return what is kept of a key: its SHA-256."""
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()


def _key(row: Any) -> ApiKey:
    values = row._asdict()
    return ApiKey(**(values | {"profile": KeyProfile(row.profile)}))

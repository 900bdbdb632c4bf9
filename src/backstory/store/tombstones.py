"""What was erased and must not come back: written by erasing, asked by whatever reads a log."""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection

from backstory.extract.erased import Erased, tombstone
from backstory.extract.identity import derived_id
from backstory.model import TombstoneKind
from backstory.store.statements import sql

# One key for all tombstones of a schema, for as long as there is one of them.
_KEY_ID = UUID(bytes=derived_id("tombstone key"))
_SECRET_BYTES = 32


def erased_leads(connection: Connection) -> Erased:
    """Return the leads that were erased, as of this statement."""
    rows = connection.execute(sql("tombstones_of_leads")).all()
    if not rows:
        return Erased()
    return Erased(_secret(connection), frozenset(bytes(row.digest) for row in rows))


def bury(connection: Connection, kind: TombstoneKind, keys: Iterable[bytes]) -> list[bytes]:
    """Leave a tombstone for each of these ids of ours; return the digests, in their order."""
    connection.execute(
        sql("add_tombstone_key"), {"id": _KEY_ID, "secret": secrets.token_bytes(_SECRET_BYTES)}
    )
    secret = _secret(connection)
    digests = [tombstone(secret, key) for key in keys]
    connection.execute(sql("add_tombstones"), {"digests": digests, "kind": kind})
    return digests


@dataclass(frozen=True)
class Grave:
    """When a customer was erased, and the digest that stands for it."""

    at: datetime
    digest: bytes


def grave_of(connection: Connection, customer_id: UUID) -> Grave | None:
    """Return when a customer was erased, None if that never was."""
    digest = tombstone(_secret(connection), customer_id.bytes)
    found = connection.execute(sql("customer_erased_at"), {"digest": digest}).scalar()
    return None if found is None else Grave(found, digest)


def _secret(connection: Connection) -> bytes:
    return bytes(connection.execute(sql("tombstone_key")).scalar() or b"")

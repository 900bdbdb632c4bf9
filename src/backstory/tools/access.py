"""Who may ask over a network: keys of the business, and the short-lived tokens of sessions.

A key opens sessions, and one of the staff their own tools; a token is one session, for one lead,
and says so by itself: whoever holds the secret of the business can check it without a look at the
database, but for its key, whose revocation ends it too. What was looked up is remembered for
`REMEMBERED`.
"""

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from time import monotonic
from typing import Any, NamedTuple
from uuid import UUID

from itsdangerous import BadData, URLSafeSerializer
from itsdangerous.encoding import base64_decode, base64_encode

from backstory.errors import NotRecognized, UsageError
from backstory.model import KeyProfile
from backstory.store import keys
from backstory.store.engine import Database, translated
from backstory.store.keys import ApiKey
from backstory.tools.session import Elsewhere, Rules, Session, open_session
from backstory.tools.staff import Staff

TOKEN_PREFIX = "bst_"  # noqa: S105 - the beginning of every token, so that scanners know a leaked one
LIFETIME = timedelta(minutes=15)
LONGEST_LIFETIME = timedelta(hours=24)
REMEMBERED = timedelta(seconds=5)
MAX_ACTOR = 80
# More keys than a business has, and tokens than are in use; beyond it all are looked at again.
_MOST_REMEMBERED = 1_000
_LONGEST_CREDENTIAL = 1_000


@dataclass(frozen=True)
class Opened:
    """A session with the token that stands for it until `expires_at` (UTC)."""

    session: Session
    token: str
    expires_at: datetime


class _Read(NamedTuple):
    """What a token says: whose it is, by which key, and its end in seconds since 1970."""

    session: Session
    key_id: UUID
    expires: float


class Access:
    """Tells who asks in one business; many threads may share it.

    `elsewhere` does what sessions are asked; `ticks` counts the seconds for which a key is
    remembered.
    """

    def __init__(
        self,
        database: Database,
        rules: Rules | None = None,
        *,
        elsewhere: Elsewhere | None = None,
        ticks: Callable[[], float] = monotonic,
    ) -> None:
        self._database = database
        self._rules = rules or Rules()
        self._elsewhere = elsewhere
        self._keys = _Remembered(ticks)
        self._tokens: dict[str, _Read] = {}

    def key(self, text: str) -> ApiKey:
        """Return the key with this text; raise NotRecognized."""
        found = self.remembered_key(text)
        if found is not None:
            return found
        if not text.startswith(keys.PREFIX) or len(text) > _LONGEST_CREDENTIAL:
            raise NotRecognized
        return self._look_up(digest=keys.digest(text))

    def session(self, token: str) -> Session:
        """Return the session that a token stands for; raise NotRecognized."""
        session, key_id = self._read(token)
        if self._keys.get(key_id) is None:
            self._look_up(key_id=key_id)
        return session

    def toolset(self, credential: str) -> Session | Staff:
        """Return whose tools a credential opens: a session's token, or a key of the staff.

        Raises NotRecognized for any other, and so for a key of agents.
        """
        if credential.startswith(TOKEN_PREFIX):
            return self.session(credential)
        key = self.key(credential)
        if key.profile is not KeyProfile.STAFF:
            raise NotRecognized
        return Staff(self._database, key.name, self._rules)

    def remembered_key(self, text: str) -> ApiKey | None:
        """Return what `key` does, if that needs no look at the database, else None."""
        return self._keys.get(keys.digest(text))

    def remembered_session(self, token: str) -> Session | None:
        """Return what `session` does, if that needs no look at the database, else None."""
        if "_signer" not in self.__dict__:
            return None
        session, key_id = self._read(token)
        return None if self._keys.get(key_id) is None else session

    def has_met(self, text: str) -> bool:
        """Tell whether this was a key when it was last looked up, however long ago."""
        return self._keys.has_met(keys.digest(text))

    def open(
        self, key: ApiKey, lead: str, *, actor: str = "agent", lifetime: timedelta = LIFETIME
    ) -> Opened:
        """Open a session for a lead, by the id the business gave it or by ours, for whoever asks.

        Raises UsageError for an unknown lead, an actor without a name, or a lifetime out of range.
        """
        if not timedelta() < lifetime <= LONGEST_LIFETIME:
            raise UsageError("A session lasts from a second to 24 hours.")
        if not actor.strip() or len(actor) > MAX_ACTOR or not actor.isprintable():
            raise UsageError(f"An actor has a name of 1 to {MAX_ACTOR} printable characters.")
        session = open_session(self._database, lead, actor=actor, rules=self._rules)
        issued = self._rules.clock()
        expires = int((issued + lifetime).timestamp())
        payload = [session.lead_id.hex, actor, key.id.hex, int(issued.timestamp()), expires]
        token = TOKEN_PREFIX + str(self._signer.dumps(payload))
        return Opened(session, token, datetime.fromtimestamp(expires, UTC))

    # -- what is behind it ---------------------------------------------------------------------

    @cached_property
    def _signer(self) -> URLSafeSerializer:
        with translated(), self._database.engine.begin() as connection:
            secret = keys.signing_secret(connection)
        # The schema is in the salt: a copy of a business under another name is another business.
        return URLSafeSerializer(
            secret,
            salt=f"backstory session of {self._database.schema}",
            signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
        )

    def _read(self, token: str) -> tuple[Session, UUID]:
        """Return the session that is written in a token and the key it was opened with."""
        found = self._tokens.get(token) or self._checked(token)
        if self._rules.clock().timestamp() >= found.expires:
            raise NotRecognized
        return found.session, found.key_id

    def _checked(self, token: str) -> "_Read":
        """Read a token whose signature is ours; that is not done again at each of its calls."""
        written = token.removeprefix(TOKEN_PREFIX)
        if written == token or len(token) > _LONGEST_CREDENTIAL:
            raise NotRecognized
        try:
            lead, actor, key, _issued, expires = self._signer.loads(written)
            _check_spelling(written)
        except BadData:
            # Not from it: it says what was wrong.
            raise NotRecognized from None
        session = Session(self._database, UUID(lead), actor, self._rules, self._elsewhere)
        if len(self._tokens) >= _MOST_REMEMBERED:
            self._tokens.clear()
        return self._tokens.setdefault(token, _Read(session, UUID(key), expires))

    def _look_up(self, **asked: Any) -> ApiKey:
        with translated(), self._database.engine.begin() as connection:
            found = keys.use_key(connection, **asked)
        if found is None:
            raise NotRecognized
        for name in (found.id, asked.get("digest")):
            self._keys.put(name, found)
        return found


def _check_spelling(token: str) -> None:
    """Refuse a signature whose last character is not the one we wrote: it has bits to spare."""
    signature = token.rpartition(".")[2].encode()
    if base64_encode(base64_decode(signature)) != signature:
        raise BadData("another spelling")


class _Remembered:
    """Keys that were looked up a moment ago, by digest and by id."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[bytes | UUID, tuple[ApiKey, float]] = {}

    def get(self, name: bytes | UUID) -> ApiKey | None:
        kept = self._kept.get(name)
        return kept[0] if kept is not None and self._clock() < kept[1] else None

    def has_met(self, name: bytes | UUID) -> bool:
        return name in self._kept

    def put(self, name: bytes | UUID | None, key: ApiKey) -> None:
        if name is None:
            return
        with self._lock:
            if len(self._kept) >= _MOST_REMEMBERED:
                self._kept.clear()
            self._kept[name] = (key, self._clock() + REMEMBERED.total_seconds())

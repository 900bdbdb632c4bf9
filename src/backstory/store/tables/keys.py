"""Who may ask over the network, as tables: keys that are stored hashed, and what signs sessions."""

from datetime import datetime

from sqlalchemy import Index
from sqlalchemy.orm import Mapped

from backstory import model
from backstory.store.tables.columns import Base, Key, Recorded, one_of


class ApiKey(Base):
    """A key of the business; the key itself is shown once and never stored."""

    __tablename__ = "api_keys"

    id: Mapped[Key]
    name: Mapped[str]
    profile: Mapped[str]
    digest: Mapped[bytes]
    created_at: Mapped[Recorded]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]

    __table_args__ = (one_of("profile", model.KeyProfile), Index(None, "digest", unique=True))


class SigningKey(Base):
    """A secret that signs session tokens; several processes of one business share it."""

    __tablename__ = "signing_keys"

    id: Mapped[Key]
    secret: Mapped[bytes]
    created_at: Mapped[Recorded]

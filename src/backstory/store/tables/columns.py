"""What all tables are made of: the base, the types of their columns, the checks they share."""

import uuid
from datetime import datetime
from typing import Annotated, Any, ClassVar

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Index,
    LargeBinary,
    MetaData,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.orm import DeclarativeBase, mapped_column

from backstory import model

# A b-tree entry holds about 2,700 bytes: longer ids are indexed by their hash.
INDEXED_ID_BYTES = 1024
# A tsvector holds 1 MB; 132,000 characters of hyphenated four-byte text were seen to reach it.
INDEXED_TEXT_CHARS = 60_000

Key = Annotated[uuid.UUID, mapped_column(Uuid, primary_key=True)]
Moment = Annotated[datetime, mapped_column(TIMESTAMP(timezone=True))]
Recorded = Annotated[datetime, mapped_column(TIMESTAMP(timezone=True), server_default=func.now())]
Json = Annotated[dict[str, Any], mapped_column(JSONB, server_default=text("'{}'::jsonb"))]
Run = Annotated[uuid.UUID | None, mapped_column(Uuid)]
Cents = Annotated[int | None, mapped_column(BigInteger)]


def one_of(column: str, vocabulary: type[model.Vocabulary]) -> CheckConstraint:
    """Return the check that a column holds a word of a closed vocabulary."""
    words = ", ".join(f"'{word}'" for word in vocabulary)
    return CheckConstraint(f"{column} IN ({words})", name=f"{column}_known")


def unique_audit_id(table: str) -> tuple[Index, Index]:
    """(log, audit_id) is unique whatever the length of the id."""
    return (
        Index(
            f"{table}_audit_id_key",
            "log",
            "audit_id",
            unique=True,
            postgresql_where=text(f"octet_length(audit_id) <= {INDEXED_ID_BYTES}"),
        ),
        Index(
            f"{table}_long_audit_id_key",
            "log",
            text("md5(audit_id)"),
            unique=True,
            postgresql_where=text(f"octet_length(audit_id) > {INDEXED_ID_BYTES}"),
        ),
    )


class Base(DeclarativeBase):
    """Names every constraint, so that a migration can speak of it."""

    metadata = MetaData(
        naming_convention={
            "ix": "%(table_name)s_%(column_0_N_name)s_idx",
            "uq": "%(table_name)s_%(column_0_N_name)s_key",
            "ck": "%(table_name)s_%(constraint_name)s",
            "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
            "pk": "%(table_name)s_pkey",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text,
        int: BigInteger,
        uuid.UUID: Uuid,
        datetime: TIMESTAMP(timezone=True),
        bytes: LargeBinary,
        dict[str, Any]: JSONB,
        list[str]: ARRAY(Text),
    }

"""Rows in PostgreSQL's binary COPY format: the quickest way in, in the caller's transaction.

Format: https://www.postgresql.org/docs/18/sql-copy.html#SQL-COPY-FILE-FORMATS. A row is the number
of fields, then for each field its length and its bytes; -1 is NULL; jsonb begins with a version.
"""

import struct
from collections.abc import Iterable, Sequence
from typing import Any

import orjson
import psycopg
from psycopg import sql

_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
_length = struct.Struct("!i").pack
_NULL = _length(-1)
_CHUNK_ROWS = 500

AUDIT_COLUMNS = (
    "id",
    "lead_id",
    "payload_hash",
    "seq",
    "created_at",
    "run_id",
    "log",
    "audit_id",
    "lead_external_id",
    "actor",
    "action",
    "payload",
)
MESSAGE_COLUMNS = (
    "id",
    "conversation_id",
    "customer_id",
    "seq",
    "created_at",
    "run_id",
    "log",
    "audit_id",
    "role",
    "kind",
    "author",
    "content",
    "attachment_text",
    "metadata",
)
_AUDIT_HEAD = struct.Struct("!hi16si16si16siqiqi16s")
_MESSAGE_HEAD = struct.Struct("!hi16si16si16siqiqi16s")


def field(value: bytes | None) -> bytes:
    """Return one field: its length, then its bytes."""
    return _NULL if value is None else _length(len(value)) + value


def json_field(value: Any) -> bytes:
    """Return one jsonb field."""
    written = orjson.dumps(value)
    return _length(len(written) + 1) + b"\x01" + written


class RecordRows:
    """Builds the two rows of an accepted record: in the log as we hold it, and as a message.

    Holds what all rows of one run share. Texts come as UTF-8 bytes, times as microseconds since
    2000, ids as 16 bytes, payloads as JSON bytes.
    """

    def __init__(self, *, log: str, run_id: bytes, source: str, created_by: str) -> None:
        self._log = field(log.encode())
        self._run_id = run_id
        self._trailing_metadata = (
            b',"source":' + orjson.dumps(source) + b',"createdBy":' + orjson.dumps(created_by)
        )
        self._words: dict[str | bytes, bytes] = {}

    def audit(self, record: Sequence[Any]) -> bytes:
        """Return the `audit_log` row of a `Taken` record (see AUDIT_COLUMNS)."""
        (
            lead_key,
            created_us,
            seq,
            record_id,
            content_hash,
            audit_id,
            lead,
            actor,
            action,
            payload,
        ) = record[:10]
        return b"".join(
            (
                _AUDIT_HEAD.pack(
                    12, 16, record_id, 16, lead_key, 16, content_hash, 8, seq, 8, created_us, 16,
                    self._run_id,
                ),
                self._log,
                _length(len(audit_id)),
                audit_id,
                _length(len(lead)),
                lead,
                _length(len(actor)),
                actor,
                _length(len(action)),
                action,
                _length(len(payload) + 1),
                b"\x01",
                payload,
            )
        )  # fmt: skip

    def message(self, record: Sequence[Any], conversation_id: bytes, customer_id: bytes) -> bytes:
        """Return the `messages` row of a `Taken` record (see MESSAGE_COLUMNS)."""
        role, kind, author, content, attachment_text, replaced = record[10:16]
        audit_id = record[5]
        metadata = b"".join(
            (
                b'\x01{"auditId":',
                _quoted(audit_id),
                b',"auditAction":',
                self._word(record[8]),
                b',"auditActor":',
                self._word(record[7]),
                self._trailing_metadata,
                b',"replacedCharacters":%d}' % replaced if replaced else b"}",
            )
        )
        return b"".join(
            (
                _MESSAGE_HEAD.pack(
                    14, 16, record[3], 16, conversation_id, 16, customer_id, 8, record[2], 8,
                    record[1], 16, self._run_id,
                ),
                self._log,
                _length(len(audit_id)),
                audit_id,
                self._short(role),
                self._short(kind),
                field(author),
                _length(len(content)),
                content,
                field(attachment_text),
                _length(len(metadata)),
                metadata,
            )
        )  # fmt: skip

    def _word(self, word: bytes) -> bytes:
        """Return an actor or action as JSON; there are few of them, so they are kept."""
        found = self._words.get(word)
        if found is None:
            if len(self._words) > _MAX_WORDS:
                self._words.clear()
            found = self._words[word] = _quoted(word)
        return found

    def _short(self, word: str) -> bytes:
        found = self._words.get(word)
        if found is None:
            found = self._words[word] = field(word.encode())
        return found


_MAX_WORDS = 1000


def _quoted(text: bytes) -> bytes:
    return orjson.dumps(text.decode())


def copy_rows(
    driver: "psycopg.Connection[Any]", table: str, columns: Sequence[str], rows: Iterable[bytes]
) -> None:
    """COPY binary rows into `table` within the open transaction."""
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(_HEADER)
        chunk: list[bytes] = []
        for row in rows:
            chunk.append(row)
            if len(chunk) == _CHUNK_ROWS:
                copy.write(b"".join(chunk))
                chunk.clear()
        chunk.append(_TRAILER)
        copy.write(b"".join(chunk))


def uuid_array(ids: Iterable[bytes]) -> str:
    """Return 16-byte ids as the text of a `uuid[]`: far quicker to send than UUID objects."""
    return "{" + ",".join(map(bytes.hex, ids)) + "}"

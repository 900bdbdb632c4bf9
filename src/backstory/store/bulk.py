"""Rows in PostgreSQL's binary COPY format: the quickest way in, in the caller's transaction.

Format: https://www.postgresql.org/docs/18/sql-copy.html#SQL-COPY-FILE-FORMATS. A row is the number
of fields, then for each field its length and its bytes; -1 is NULL; jsonb begins with a version.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import orjson
import psycopg
from psycopg import sql

_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
_length = struct.Struct("!i").pack
_NULL = _length(-1)
_NO_LINE = _NULL + _NULL
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
    "line",
    "line_rules",
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

    Holds what all rows of one run share, and the few words they repeat. Texts come as UTF-8 bytes,
    times as microseconds since 2000, ids as 16 bytes, payloads as JSON bytes. Records are tuples
    in the order of `spill.Taken`; a million go through here, so each costs few steps.
    """

    def __init__(
        self, *, log: str, run_id: bytes, source: str, created_by: str, line_rules: str
    ) -> None:
        self._log = field(log.encode())
        self._run_id = run_id
        self._line_rules = field(line_rules.encode())
        self._origin = b',"source":%b,"createdBy":%b' % (
            orjson.dumps(source),
            orjson.dumps(created_by),
        )
        self._two = lru_cache(_REMEMBERED_WORDS)(_two_fields)
        self._told = lru_cache(_REMEMBERED_WORDS)(self._tell)

    def audit(self, records: Iterable[Sequence[Any]]) -> Iterator[bytes]:
        """Yield the `audit_log` rows of records (see AUDIT_COLUMNS)."""
        join, head, length = b"".join, _AUDIT_HEAD.pack, _length
        log, run_id, two = self._log, self._run_id, self._two
        for record in records:
            (
                key,
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
            yield join(
                (
                    head(
                        12, 16, record_id, 16, key, 16, content_hash, 8, seq, 8, created_us, 16,
                        run_id,
                    ),
                    log,
                    length(len(audit_id)),
                    audit_id,
                    length(len(lead)),
                    lead,
                    two(actor, action),
                    length(len(payload) + 1),
                    b"\x01",
                    payload,
                )
            )  # fmt: skip

    def messages(
        self, records: Iterable[Sequence[Any]], conversation_id: bytes, customer_id: bytes
    ) -> Iterator[bytes]:
        """Yield the `messages` rows of one conversation's records (see MESSAGE_COLUMNS)."""
        join, head, length = b"".join, _MESSAGE_HEAD.pack, _length
        log, run_id, two, told = self._log, self._run_id, self._two, self._told
        rules = self._line_rules
        for record in records:
            audit_id = record[5]
            role, kind, author, content, attachment_text, replaced, line = record[10:17]
            quoted = orjson.dumps(audit_id.decode())
            origin = told(record[7], record[8], replaced)
            yield join(
                (
                    head(
                        16, 16, record[3], 16, conversation_id, 16, customer_id, 8, record[2], 8,
                        record[1], 16, run_id,
                    ),
                    log,
                    length(len(audit_id)),
                    audit_id,
                    two(role, kind),
                    _NULL if author is None else field(author),
                    length(len(content)),
                    content,
                    _NULL if attachment_text is None else field(attachment_text),
                    _NO_LINE if line is None else field(line or None) + rules,
                    length(len(_METADATA) + len(quoted) + len(origin)),
                    _METADATA,
                    quoted,
                    origin,
                )
            )  # fmt: skip

    def _tell(self, actor: bytes, action: bytes, replaced: int) -> bytes:
        """Return a message's metadata from the second key on."""
        return b',"auditAction":%b,"auditActor":%b%b%b}' % (
            orjson.dumps(action.decode()),
            orjson.dumps(actor.decode()),
            self._origin,
            b',"replacedCharacters":%d' % replaced if replaced else b"",
        )


# jsonb's version, then the first key; the audit id and the rest follow.
_METADATA = b'\x01{"auditId":'
_REMEMBERED_WORDS = 1000


def _two_fields(first: bytes, second: bytes) -> bytes:
    return field(first) + field(second)


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

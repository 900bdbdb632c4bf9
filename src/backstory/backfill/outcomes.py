"""Ledger rows of records that made no message: skipped, quarantined, in conflict."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import orjson

from backstory.audit.source import Source
from backstory.backfill.read import place_of, source_of
from backstory.backfill.spill import Left, Record, Taken
from backstory.errors import RecordRefused
from backstory.extract.identity import derived_id
from backstory.extract.messages import content_digest
from backstory.extract.parse import from_microseconds
from backstory.model import EXTRACTOR_VERSION, QuarantineStage
from backstory.store.backfill import JsonText

Row = dict[str, Any]


@dataclass(frozen=True)
class LedgerRows:
    """Builds the rows of one run; ids follow from the content, so that running again adds none."""

    log: str
    run_id: bytes
    sources: Sequence[Source]
    retry_options: Mapping[str, Any]

    def skipped(self, left: Left, occurrence: int) -> Row:
        """Return the row of a record that was left aside for a reason."""
        return {
            "id": derived_id("skip", self.log, left.digest.hex(), str(occurrence)),
            "log": self.log,
            "digest": left.digest,
            "occurrence": occurrence,
            "reason": left.reason,
            "audit_id": left.audit_id,
            "lead_external_id": left.lead_external_id,
            "actor": left.actor,
            "position": place_of(self.sources, left.seq),
            "run_id": self.run_id,
        }

    def quarantined(self, left: Left, occurrence: int, stage: QuarantineStage) -> Row:
        """Return the row of a record that could not be taken, with its bytes."""
        return {
            "id": derived_id("quarantine", self.log, left.digest.hex(), str(occurrence)),
            "log": self.log,
            "digest": left.digest,
            "occurrence": occurrence,
            "raw": left.raw,
            "code": left.reason,
            "message": left.message.replace("\0", "\ufffd"),
            "stage": stage,
            "extractor_version": EXTRACTOR_VERSION,
            "position": place_of(self.sources, left.seq),
            "audit_id": left.audit_id,
            "lead_external_id": left.lead_external_id,
            "options": {**self.retry_options, "columns": self._columns(left.seq, stage)},
            "run_id": self.run_id,
        }

    def _columns(self, seq: int, stage: QuarantineStage) -> dict[str, str]:
        """Return what the bytes in quarantine call our fields: what was read is theirs, or ours."""
        read = stage is QuarantineStage.PARSE
        return dict(source_of(self.sources, seq).columns) if read else {}

    def conflict(self, record: Record, twin: int) -> Row:
        """Return the row of a record whose id is taken by another content."""
        taken = Taken(*record)
        return {
            "id": derived_id(
                "conflict", self.log, taken.audit_id.decode(), taken.content_hash.hex(), str(twin)
            ),
            "log": self.log,
            "audit_id": taken.audit_id.decode(),
            "occurrence": twin,
            "winner_id": taken.record_id,
            "lead_external_id": taken.lead_external_id.decode(),
            "actor": taken.actor.decode(),
            "action": taken.action.decode(),
            "payload": JsonText(taken.payload),
            "payload_hash": taken.content_hash,
            "record_created_at": from_microseconds(taken.created_us),
            "position": place_of(self.sources, taken.seq),
            "run_id": self.run_id,
        }


def refused(record: Record, refusal: RecordRefused) -> Left:
    """Return a record that the database would not take, as if it had been left when read."""
    taken = Taken(*record)
    raw = _as_line(taken)
    return Left(
        content_digest(raw),
        taken.seq,
        f"refused_{refusal.code}",
        str(refusal),
        raw,
        taken.audit_id.decode(),
        taken.lead_external_id.decode(),
        taken.actor.decode(),
        processed=False,
    )


def with_occurrence(left: list[Left]) -> Iterator[tuple[Left, int]]:
    """Yield each record with its number among identical ones: a row each, none on a re-run."""
    for _, twins in groupby(left, lambda row: row.digest):
        for occurrence, row in enumerate(twins):
            yield row, occurrence


def _as_line(taken: Taken) -> bytes:
    """Return a record as the line it could have been: what `quarantine retry` reads again."""
    fields = {
        "id": taken.audit_id.decode(),
        "lead_id": taken.lead_external_id.decode(),
        "actor": taken.actor.decode(),
        "action": taken.action.decode(),
        "payload": orjson.Fragment(taken.payload),
        "created_at": from_microseconds(taken.created_us).isoformat(),
    }
    return orjson.dumps(fields)

"""Ledger rows of records that made no message: skipped, quarantined, in conflict."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from backstory.extract.identity import derived_id
from backstory.extract.judge import Left, Record, Taken
from backstory.extract.parse import from_microseconds
from backstory.model import EXTRACTOR_VERSION, QuarantineStage, SkipReason
from backstory.store.backfill import JsonText

Row = dict[str, Any]


@dataclass(frozen=True)
class LedgerRows:
    """Builds the rows of one writer; ids follow from the content, so that a second try adds none.

    `run_id` is None for live events; `place_of` says where a position is, as a reader would look
    for it, `columns_of` what the bytes there call our fields.
    """

    log: str
    run_id: bytes | None
    retry_options: Mapping[str, Any]
    place_of: Callable[[int], str]
    columns_of: Callable[[int], Mapping[str, str]]

    def skipped(self, left: Left, occurrence: int) -> Row:
        """Return the row of a record that was left aside for a reason.

        Of an erased lead it says where the record stood, and names nobody.
        """
        erased = left.reason == SkipReason.ERASED
        return {
            "id": derived_id("skip", self.log, left.digest.hex(), str(occurrence)),
            "log": self.log,
            "digest": left.digest,
            "occurrence": occurrence,
            "reason": left.reason,
            "audit_id": None if erased else left.audit_id,
            "lead_external_id": None if erased else left.lead_external_id,
            "actor": None if erased else left.actor,
            "position": self.place_of(left.seq),
            "run_id": self.run_id,
        }

    def quarantined(self, left: Left, occurrence: int, stage: QuarantineStage) -> Row:
        """Return the row of a record that could not be taken, with its bytes."""
        # What was read has its source's names; what was refused was written anew with ours.
        columns = dict(self.columns_of(left.seq)) if stage is QuarantineStage.PARSE else {}
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
            "position": self.place_of(left.seq),
            "audit_id": left.audit_id,
            "lead_external_id": left.lead_external_id,
            "options": {**self.retry_options, "columns": columns},
            "run_id": self.run_id,
        }

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
            "position": self.place_of(taken.seq),
            "run_id": self.run_id,
        }


def with_occurrence(left: list[Left]) -> Iterator[tuple[Left, int]]:
    """Yield each record with its number among identical ones: a row each, none on a re-run."""
    for _, twins in groupby(left, lambda row: row.digest):
        for occurrence, row in enumerate(twins):
            yield row, occurrence

"""Confirms what the customer said yes to: only what was shown in this conversation, and as it was.

All or nothing. A note that a customer confirms stays a candidate for everybody else: that is
decided by who reviews notes, not by one talk.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from backstory.errors import Refused
from backstory.memory.candidates import ID_FORM, require_conversation
from backstory.memory.quoting import plain
from backstory.memory.telling import LASTS, Kept, one
from backstory.model import JobEventType, MemorySource
from backstory.store import jobs
from backstory.store import memory as store
from backstory.store.binding import Bound

DETAILS_CHARS = 2_000
_ID_CHARS = 60
_AGAIN = "Call memory_fetch_candidates again and use the ids that it gives, as they are."


@dataclass(frozen=True)
class Confirmed:
    """A confirmed detail that may be reused now."""

    candidate_id: str
    source: MemorySource
    details: str
    job_id: UUID | None
    address_id: UUID | None


def confirm(bound: Bound, candidate_ids: Sequence[str]) -> list[Confirmed]:
    """Confirm candidates by the ids they were shown under; return their details, in that order.

    Raises Refused, and confirms none, if one was not shown in this conversation (`not_found`) or
    is no longer as it was shown (`changed`). What is confirmed already stays confirmed.
    """
    require_conversation(bound)
    ids = list(dict.fromkeys(candidate_ids))
    shown = store.shown(bound, [each for each in ids if ID_FORM.fullmatch(each)])
    _refuse_if([each for each in ids if each not in shown], "not_found", _NOT_FETCHED)
    now = {each: one(bound, shown[each].source, shown[each].source_id) for each in ids}
    held = {
        each: thing
        for each, thing in now.items()
        if thing is not None and thing.content_hash == shown[each].content_hash
    }
    _refuse_if([each for each in ids if each not in held], "changed", _CHANGED)
    for each in sorted(store.confirm(bound, ids, since=bound.now - LASTS)):
        _note_on_job(bound, each, held[each])
    return [_confirmed(each, held[each]) for each in ids]


_NOT_FETCHED = "Not fetched in this conversation"
_CHANGED = "Changed since they were fetched, or gone"


def _refuse_if(ids: Sequence[str], outcome: str, sentence: str) -> None:
    if ids:
        named = ", ".join(plain(each, _ID_CHARS) for each in ids)
        raise Refused(outcome, f"{sentence}: {named}. Nothing was confirmed.", next_step=_AGAIN)


def _note_on_job(bound: Bound, candidate_id: str, thing: Kept) -> None:
    """Let the history of a job tell that it was spoken of again."""
    if thing.source is MemorySource.JOB:
        status = jobs.get(bound, thing.id).status
        jobs.append_event(
            bound,
            thing.id,
            JobEventType.CONTEXT_CONFIRMED,
            before=status,
            after=status,
            payload={
                "candidate_id": candidate_id,
                "conversation_id": str(bound.conversation_id),
            },
        )


def _confirmed(candidate_id: str, thing: Kept) -> Confirmed:
    return Confirmed(
        candidate_id=candidate_id,
        source=thing.source,
        details=thing.told(DETAILS_CHARS, whole=True),
        job_id=thing.job_id,
        address_id=thing.address_id,
    )

"""The nouns: closed vocabularies, and what a model of meaning is; without I/O."""

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Protocol

EXTRACTOR_VERSION = "1"
CREATED_BY = "backstory"
SOURCE_BACKFILL = "audit_backfill"
SOURCE_LIVE = "live"
OWN_LOG = "backstory"

# What a long work calls again and again on its way: it raises where the work is to end.
Heed = Callable[[], None]


def heedless() -> None:
    """Heed nobody."""


class Vocabulary(StrEnum):
    """A closed set of words; the database checks every one of them."""


class Channel(Vocabulary):
    """Where a conversation takes place."""

    MESSENGER = "messenger"
    SMS = "sms"
    WEB = "web"
    OTHER = "other"


class Role(Vocabulary):
    """Who speaks, in the words language models use."""

    USER = "user"
    ASSISTANT = "assistant"
    SYSTEM = "system"
    TOOL = "tool"


class MessageKind(Vocabulary):
    """Whether a message was said (`text`) or happened (`event`)."""

    TEXT = "text"
    EVENT = "event"


class ConversationStatus(Vocabulary):
    """A lead has at most one open conversation."""

    OPEN = "open"
    CLOSED = "closed"


class LeadSource(Vocabulary):
    """How we know of a lead: from a list, from the log alone, or from a live event."""

    LIST = "list"
    DERIVED = "derived"
    LIVE = "live"


class IdentityKind(Vocabulary):
    """What a customer can be known by."""

    MESSENGER = "messenger"
    PHONE = "phone"
    EMAIL = "email"


class Provenance(Vocabulary):
    """`verified` links; `claimed` was only said in chat; `shared` is a hub key of many."""

    VERIFIED = "verified"
    CLAIMED = "claimed"
    SHARED = "shared"


class SkipReason(Vocabulary):
    """Why a record was left aside, in order of precedence."""

    NO_LEAD = "no_lead"
    LEAD_NOT_FOUND = "lead_not_found"
    ERASED = "erased"
    UNKNOWN_ACTOR = "unknown_actor"
    NO_TEXT = "no_text"


class EventOutcome(Vocabulary):
    """What became of an event that was handed in live."""

    CREATED = "created"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    SKIPPED = "skipped"
    QUARANTINED = "quarantined"


class QuarantineStage(Vocabulary):
    """Where a record failed: when it was read, or when the database refused it."""

    PARSE = "parse"
    WRITE = "write"


class QuarantineStatus(Vocabulary):
    """A resolved record was taken by a later retry."""

    OPEN = "open"
    RESOLVED = "resolved"


class RunMode(Vocabulary):
    """What a run does.

    It loads a log, retries what was quarantined, embeds, sums talks up, takes notes, or renders
    the lines of events.
    """

    BACKFILL = "backfill"
    RETRY = "retry"
    EMBED = "embed"
    SUMMARIZE = "summarize"
    NOTES = "notes"
    RENDER = "render"


class SearchMode(Vocabulary):
    """What a search or a recall goes by: words, meaning, or both."""

    TEXT = "text"
    SEMANTIC = "semantic"
    HYBRID = "hybrid"


class RunStatus(Vocabulary):
    """Where a run stands; `runs.run` has the transitions."""

    RUNNING = "running"
    PAUSED = "paused"
    FAILED = "failed"
    CANCELED = "canceled"
    DONE = "done"
    ROLLED_BACK = "rolled_back"


class RunWish(Vocabulary):
    """What somebody asked a running run to do next."""

    PAUSE = "pause"
    CANCEL = "cancel"


class PartitionStage(Vocabulary):
    """The two passes whose work is shared out: reading segments, writing partitions."""

    READ = "read"
    WRITE = "write"


class PartitionStatus(Vocabulary):
    """A partition is claimed under a lease and a fencing token until it is done."""

    PENDING = "pending"
    CLAIMED = "claimed"
    DONE = "done"


class TombstoneKind(Vocabulary):
    """What was erased."""

    LEAD = "lead"
    CUSTOMER = "customer"


class KeyProfile(Vocabulary):
    """What a key opens: sessions for agents, or a look across customers as well."""

    AGENT = "agent"
    STAFF = "staff"


class MemorySource(Vocabulary):
    """What a memory candidate was taken from."""

    JOB = "job"
    LEAD = "lead"
    ADDRESS = "address"
    NOTE = "note"
    MESSAGE = "message"


class JobStatus(Vocabulary):
    """Where a job stands."""

    UNSCHEDULED = "unscheduled"
    SCHEDULED = "scheduled"
    IN_PROGRESS = "in_progress"
    ON_HOLD = "on_hold"
    COMPLETED = "completed"
    CANCELED = "canceled"


class CanceledBy(Vocabulary):
    """Who called a job off."""

    CUSTOMER = "customer"
    BUSINESS = "business"


class JobItemKind(Vocabulary):
    """What a line of a job stands for."""

    ITEM = "item"
    SERVICE = "service"
    FEE = "fee"
    DISCOUNT = "discount"


class Unit(Vocabulary):
    """What a quantity counts."""

    EACH = "each"
    HOUR = "hour"
    CUBIC_YARD = "cubic_yard"
    LOAD_FRACTION = "load_fraction"
    LB = "lb"


class JobEventType(Vocabulary):
    """What can happen to a job."""

    CREATED = "created"
    ESTIMATE_SENT = "estimate_sent"
    SCHEDULED = "scheduled"
    RESCHEDULED = "rescheduled"
    CONFIRMED = "confirmed"
    REMINDER_SENT = "reminder_sent"
    EN_ROUTE = "en_route"
    ARRIVED = "arrived"
    STARTED = "started"
    ON_HOLD = "on_hold"
    RESUMED = "resumed"
    COMPLETED = "completed"
    CANCELED = "canceled"
    NO_SHOW = "no_show"
    ITEM_ADDED = "item_added"
    NOTE_ADDED = "note_added"
    CONTEXT_CONFIRMED = "context_confirmed"
    INVOICED = "invoiced"
    PAYMENT_RECEIVED = "payment_received"
    OTHER = "other"


class NoteKind(Vocabulary):
    """What a memory note says."""

    FACT = "fact"
    PREFERENCE = "preference"
    CONSTRAINT = "constraint"
    PROMISE = "promise"
    SUMMARY = "summary"


class NoteStatus(Vocabulary):
    """How far a memory note can be trusted."""

    CANDIDATE = "candidate"
    CONFIRMED = "confirmed"
    REJECTED = "rejected"
    SUPERSEDED = "superseded"
    EXPIRED = "expired"


class Embedder(Protocol):
    """Something that knows what texts mean.

    `name` says which model it is, for good: vectors of one name can be compared with one another.
    """

    @property
    def name(self) -> str:
        """The model's name, under which its vectors are stored."""

    @property
    def dimensions(self) -> int:
        """How long its vectors are."""

    def embed(self, texts: Sequence[str], *, asking: bool = False) -> list[list[float]]:
        """Return a vector of length 1 for each text, in order; `asking`: the texts are questions.

        Raises ModelUnreachable where another try may help, ModelError where none will.
        """


class Embedders(Protocol):
    """The embedders that can be had here."""

    def named(self, name: str) -> Embedder | None:
        """Return the one whose vectors are stored under `name`, None if it is not to be had."""

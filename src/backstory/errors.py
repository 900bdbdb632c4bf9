"""Every error Backstory raises on purpose; the message says what to do next.

BackstoryError
├── UsageError            the caller asked for something that cannot be (exit code 2)
│   └── Unanswerable      of the right form, and nothing can answer it: a page that is not there
├── Transient             the same call may succeed later: retry
│   ├── Busy              there is too much to do now: not at once
│   ├── DatabaseUnreachable
│   └── ModelUnreachable
└── Terminal              the same call will fail again: something must change first
    ├── SourceError       an audit log or a list of leads cannot be read
    ├── DatabaseError     the database refused, or is not what we expect
    │   └── SchemaMismatch
    ├── ModelError        a model cannot be loaded, or answers what it should not
    ├── EmbeddedError     the embedded PostgreSQL cannot be started or stopped
    ├── RunError          a run cannot do what was asked of it
    │   └── LeaseLost     another worker holds the partition now
    ├── NotRecognized     a key or a token is missing, wrong, expired or revoked
    ├── NotAllowed        a known key may not do this
    └── Refused           a tool will not do what an agent asked; nothing was changed
"""

from functools import partial
from typing import Any

# How an error ends that goes away by itself; where a run has begun it names that run instead.
AGAIN = "run the same command again"


class BackstoryError(Exception):
    """Root of the tree: catch this to catch everything we raise on purpose."""


class UsageError(BackstoryError):
    """The request itself is wrong; the message names the right form."""


class Unanswerable(UsageError):
    """The request has its right form; the message says why nothing can answer it as it is."""


class Transient(BackstoryError):
    """The same call may succeed later without any change."""


class Busy(Transient):
    """Connections, time or room are used up now; the same call may be repeated later."""


class DatabaseUnreachable(Transient):
    """No answer from the database; nothing half-written, the same command or `resume` continues."""


class ModelUnreachable(Transient):
    """The service of a model does not answer; what was asked of it can be asked again."""


class Terminal(BackstoryError):
    """The same call will fail again until something changes."""


class SourceError(Terminal):
    """A source cannot be read; the message names the file or table, the place and the remedy."""


class DatabaseError(Terminal):
    """The database refused a statement or lacks something we need."""


class SchemaMismatch(DatabaseError):
    """The database was made by another version of Backstory."""


class RecordRefused(DatabaseError):
    """The database refused the content of a row; `code` is its SQLSTATE."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (str(self), self.code)


class ModelError(Terminal):
    """A model cannot be loaded, refuses, or answers what it should not."""


class EmbeddedError(Terminal):
    """The embedded PostgreSQL cannot be started or stopped; the message shows its log."""


class RunError(Terminal):
    """A run is not in a state that allows what was asked."""


class LeaseLost(RunError):
    """Another worker took this partition over; this worker's batch was not written."""


class Interrupted(RunError):
    """The run was asked to pause or to cancel; what is committed stays.

    `run_id` is there once the run has been left in a state from which it goes on, or has ended.
    """

    def __init__(self, wish: str, run_id: str | None = None) -> None:
        super().__init__(f"The run was asked to {wish}.")
        self.wish = wish
        self.run_id = run_id

    def __reduce__(self) -> tuple[type, tuple[str, str | None]]:
        return type(self), (self.wish, self.run_id)


class NotRecognized(Terminal):
    """Nobody known asks this; the words are the same whatever was wrong, and so tell nothing."""

    def __init__(self) -> None:
        super().__init__(
            "The key or the token is missing, wrong, expired or revoked: "
            "send one that is valid as `Authorization: Bearer ...`."
        )

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return type(self), ()


class NotAllowed(Terminal):
    """Who asks is known, and may not do this; the message says which key may."""


class Refused(Terminal):
    """A tool will not do what was asked: `outcome` is the word for why, `next_step` what helps.

    Both the message and the next step are written for the model that called.
    """

    def __init__(self, outcome: str, message: str, *, next_step: str = "") -> None:
        super().__init__(f"{message} {next_step}".strip())
        self.outcome = outcome
        self.message = message
        self.next_step = next_step

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return partial(type(self), next_step=self.next_step), (self.outcome, self.message)

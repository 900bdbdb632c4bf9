"""What one server works with, from its start to its end."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from anyio import CapacityLimiter
from fastapi import Request

from backstory.app import App
from backstory.faces.http.limits import Buckets, Rate
from backstory.faces.http.metrics import Metrics
from backstory.live.queue import EventQueue
from backstory.live.reading import DEFAULT_LOG, LiveOptions
from backstory.store.engine import Database
from backstory.tools.access import Access

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True)
class HttpOptions:
    """How a server is run.

    `threads` is how many requests it works on at once, and how many connections to the database it
    needs for that, one more for events. `key_rate`, `session_rate`: requests a second that a key
    and a session may make (an event is one, in a batch too), 0 for any number; twice as many after
    a rest. `stranger_rate`: how often a second one address may come with a key not met before.
    """

    threads: int = 8
    log: str = DEFAULT_LOG
    key_rate: float = 2_000
    session_rate: float = 50
    stranger_rate: float = 20
    largest_body: int = MEBIBYTE
    largest_events_body: int = 16 * MEBIBYTE


@dataclass(frozen=True)
class Readiness:
    """Whether requests can be served, each in a word: ok, or what is wrong."""

    database: str
    schema: str
    agents: str


@dataclass
class Service:
    """The parts that requests share; `queue` is there between start and end.

    `calls` are how many tools may be called at once, in threads beside those of other requests.
    """

    app: App
    access: Access
    options: HttpOptions
    metrics: Metrics = field(default_factory=Metrics)
    calls: CapacityLimiter | None = None
    readiness: tuple[float, Readiness] | None = None
    _queue: EventQueue | None = None

    def __post_init__(self) -> None:
        self.keys = Buckets(Rate.of(self.options.key_rate))
        self.sessions = Buckets(Rate.of(self.options.session_rate))
        self.strangers = Buckets(Rate.of(self.options.stranger_rate))

    @property
    def database(self) -> Database:
        """The database of the business."""
        return self.app.database

    @property
    def queue(self) -> EventQueue:
        """The queue of events; raises AssertionError before the start and after the end."""
        assert self._queue is not None, "the server is not running"  # noqa: S101 - ours to know
        return self._queue

    @contextmanager
    def running(self) -> Iterator[None]:
        """Take events within; at the end write those that were accepted."""
        options = LiveOptions(
            log=self.options.log,
            region=self.app.settings.region,
            hub_limit=self.app.settings.hub_limit,
            lines=self.app.lines,
        )
        with EventQueue(self.database, options) as self._queue:
            self.metrics.waiting.set_function(lambda: self.queue.waiting)
            yield
        self._queue = None


def service_of(request: Request) -> Service:
    """Return the service that a request is for."""
    service = request.app.state.service
    assert isinstance(service, Service)  # noqa: S101 - create_app puts it there
    return service

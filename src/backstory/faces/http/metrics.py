"""What the server counts, in the words of Prometheus: no ids, no words of customers."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.04, 0.06, 0.1, 0.2, 0.5, 1, 2, 5, 10)


class Metrics:
    """The counters of one server."""

    content_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "backstory_http_requests",
            "Requests that were answered, by route and status.",
            ["method", "route", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "backstory_http_request_seconds",
            "Seconds from a request's head to the end of its answer.",
            ["route"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._calls = Counter(
            "backstory_tool_calls",
            "Calls of tools, by what they came to.",
            ["tool", "outcome"],
            registry=self._registry,
        )
        self._events = Counter(
            "backstory_events",
            "Events that were recorded, by what became of them.",
            ["outcome"],
            registry=self._registry,
        )
        self.waiting = Gauge(
            "backstory_events_waiting",
            "Events that wait to be written.",
            registry=self._registry,
        )

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request; `route` is a pattern, never a path."""
        known = method if method in _METHODS else "other"
        self._requests.labels(known, route, status).inc()
        self._seconds.labels(route).observe(seconds)

    def call(self, tool: str, outcome: str) -> None:
        """Count the call of a tool by its name in our list."""
        self._calls.labels(tool, outcome).inc()

    def event(self, outcome: str) -> None:
        """Count an event."""
        self._events.labels(outcome).inc()

    def text(self) -> bytes:
        """Return all of it in Prometheus' text format."""
        return generate_latest(self._registry)

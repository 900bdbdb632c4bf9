"""An audit event, as a source tells it: who did what, when, with which payload."""

from typing import Any, NamedTuple


class AuditEvent(NamedTuple):
    """One record of an agent's log, parsed but not yet judged.

    `created_us` counts microseconds since 2000-01-01 UTC. `replaced` characters could not be
    stored, `repeated_keys` were overwritten by their last value.
    """

    audit_id: str
    lead_id: str | None
    actor: str
    action: str
    payload: Any
    created_us: int
    replaced: int
    repeated_keys: int

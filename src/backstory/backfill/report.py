"""The report of a run or of its plan: one set of keys, and how they add up.

records_read     = audits_processed + audits_skipped + records_quarantined
audits_processed = messages_created + messages_skipped + messages_conflicting
messages_skipped = messages_duplicate + those with `no_text`
audits_skipped   = `no_lead`, `lead_not_found`, `erased`, `unknown_actor`: never considered
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from backstory.backfill.counts import Counts
from backstory.errors import RunError
from backstory.model import Role, SkipReason


@dataclass(frozen=True)
class Report:
    """What came of a backfill; counts are records, messages, conversations or leads.

    `errors` are sentences about what needs a look (exit code 1), `warnings` about what does not.
    """

    run_id: str | None
    mode: str
    records_read: int
    audits_processed: int
    audits_skipped: int
    conversations_created: int
    conversations_skipped: int
    messages_created: int
    messages_skipped: int
    messages_duplicate: int
    messages_conflicting: int
    records_quarantined: int
    errors: list[str]
    warnings: list[str]
    skipped_by_reason: dict[str, int]
    roles: dict[str, dict[str, float]]
    leads_linked: int
    customers_created: int
    seconds: float
    seconds_by_step: dict[str, float]
    messages_per_second: float

    def as_json(self) -> dict[str, Any]:
        """Return the report under its keys."""
        return asdict(self)

    @property
    def clean(self) -> bool:
        """Whether nothing needs a look: no error, nothing quarantined."""
        return not self.errors and not self.records_quarantined


def make_report(
    *,
    run_id: str | None,
    mode: str,
    counts: Counts,
    conversations: tuple[int, int],
    leads: tuple[int, int],
    errors: list[str],
    warnings: list[str],
    seconds_by_step: Mapping[str, float],
) -> Report:
    """Return the report that `counts` add up to.

    `conversations` are (created, there before), `leads` are (linked, customers created).
    """
    skipped = {str(reason): counts.get("skipped", {}).get(reason, 0) for reason in SkipReason}
    no_text = skipped[SkipReason.NO_TEXT]
    created, duplicate, conflict = (
        counts.get(name, 0) for name in ("created", "duplicate", "conflict")
    )
    seconds = sum(seconds_by_step.values())
    return Report(
        run_id=run_id,
        mode=str(mode),
        records_read=counts.get("records", 0),
        audits_processed=created + duplicate + no_text + conflict,
        audits_skipped=sum(skipped.values()) - no_text,
        conversations_created=conversations[0],
        conversations_skipped=conversations[1],
        messages_created=created,
        messages_skipped=duplicate + no_text,
        messages_duplicate=duplicate,
        messages_conflicting=conflict,
        records_quarantined=counts.get("quarantined", 0),
        errors=errors,
        warnings=warnings,
        skipped_by_reason={reason: count for reason, count in skipped.items() if count},
        roles=shares(counts.get("roles", {})),
        leads_linked=leads[0],
        customers_created=leads[1],
        seconds=round(seconds, 3),
        seconds_by_step={step: round(spent, 3) for step, spent in seconds_by_step.items()},
        messages_per_second=round(created / seconds, 1) if seconds else 0.0,
    )


def refuse_empty(read: int, *, allowed: bool) -> None:
    """Raise RunError if nothing at all was read: a wrong name is likelier than an empty log."""
    if not read and not allowed:
        raise RunError(
            "The sources hold no record at all: check their names, or say --allow-empty."
        )


def shares(counts: Mapping[str, int]) -> dict[str, dict[str, float]]:
    """Return each role's count and its percentage of all, to two places."""
    total = sum(counts.values())
    return {
        str(role): {"count": counts[role], "percent": round(100 * counts[role] / total, 2)}
        for role in Role
        if counts.get(role)
    }


def warnings_of(counts: Counts, read: Counts, findings: Mapping[str, Any]) -> list[str]:
    """Return sentences about what was found and mended, or left aside for a reason."""
    found = {
        "Records that name a lead which no list holds, left aside": counts.get("skipped", {}).get(
            SkipReason.LEAD_NOT_FOUND
        ),
        "Listed leads that were erased, left aside": findings.get("leads_erased"),
        "Characters that cannot be stored, replaced by U+FFFD": read.get("replaced"),
        "JSON keys given twice in one object, the last value taken": read.get("repeated_keys"),
        "Leads derived from the log, each with channel `other` and a customer of its own; "
        "--leads would link them": counts.get("leads_derived"),
    }
    said = [f"{what}: {count:,}." for what, count in found.items() if count]
    unlinkable = findings.get("unlinkable")
    return said + ([unlinkable] if unlinkable else []) + list(findings.get("sentences", []))

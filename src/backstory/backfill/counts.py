"""Counts of outcomes: plain nested numbers, added up from batch to partition to run."""

from collections.abc import Iterable
from typing import Any

Counts = dict[str, Any]


def add(total: Counts, more: Counts) -> Counts:
    """Add `more` to `total`, level by level, and return `total`."""
    for name, value in more.items():
        if isinstance(value, dict):
            add(total.setdefault(name, {}), value)
        else:
            total[name] = total.get(name, 0) + value
    return total


def total_of(all_counts: Iterable[Counts]) -> Counts:
    """Return the sum of many counts."""
    total: Counts = {}
    for counts in all_counts:
        add(total, counts)
    return total

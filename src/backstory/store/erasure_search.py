"""Searches every column that can hold a word for what is left of an erased customer.

The columns come from the catalog of PostgreSQL, not from our models: a column that nobody thought
of is searched like any other.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Row, text

from backstory.store.erasure import Scope
from backstory.store.ownership import OWNED
from backstory.store.statements import sql
from backstory.store.words import Words

_OF_CUSTOMERS = frozenset({"customers", *(table.name for table in OWNED)})
# What is left there of others may name anybody by name, and nobody by what only the erased had.
_KEPT_FOR_OTHERS = frozenset({"run_changes", "customer_merges"})


@dataclass(frozen=True)
class Hit:
    """So many rows of a column that hold what was looked for."""

    table: str
    column: str
    rows: int


@dataclass(frozen=True)
class Proof:
    """What a search found: `left` must be empty; `of_others` are rows of other customers.

    The same name, or the same sentence said by somebody else, is no trace of the erased.
    """

    columns: int
    sought: dict[str, int]
    left: tuple[Hit, ...]
    of_others: tuple[Hit, ...]

    @property
    def clean(self) -> bool:
        """Whether nothing is left."""
        return not self.left

    def as_json(self) -> dict[str, Any]:
        """Return the proof as JSON."""
        return asdict(self) | {"clean": self.clean}


def search(connection: Connection, scope: Scope, words: Words) -> Proof:
    """Look for these words in every column there is; reads the tables whole."""
    columns = connection.execute(sql("columns_that_can_hold_words")).all()
    left: list[Hit] = []
    others: list[Hit] = []
    for table, group in groupby(columns, lambda row: row.table_name):
        of_table = list(group)
        found = connection.execute(text(_statement(table, of_table)), _values(scope, words)).one()
        for place, column in enumerate(of_table):
            for hits, rows in ((left, found[2 * place]), (others, found[2 * place + 1])):
                if rows:
                    hits.append(Hit(table, column.column_name, rows))
    sought = {name: len(each) for name, each in vars(words).items() if isinstance(each, tuple)}
    return Proof(len(columns), sought, tuple(left), tuple(others))


def _values(scope: Scope, words: Words) -> dict[str, Any]:
    keys, ours = words.only_keys(), words.within_ours
    return {
        "within": list(words.within),
        "within_as": list(words.within.values()),
        "exact": words.exact,
        "ours": list(ours),
        "ours_as": list(ours.values()),
        "keys_within": list(keys.within),
        "keys_within_as": list(keys.within.values()),
        "keys_exact": keys.exact,
        "ids": list(words.ids),
        "names": list(scope.external_ids),
    }


def _statement(table: str, columns: Iterable[Row[Any]]) -> str:
    """Return one statement that counts, for each column, what is left and what is of others."""
    of_others = _of_others(table)
    counts = []
    for column in columns:
        every = _holds(column, "within", "exact")
        if table in _KEPT_FOR_OTHERS:
            keys = _holds(column, "keys_within", "keys_exact")
            pair = (keys, f"{every} AND NOT {keys}")
        else:
            ours = _holds(column, "ours", "exact", spaced=True)
            pair = (f"NOT {of_others} AND {ours}", f"{of_others} AND {every}")
        counts += [f"count(*) FILTER (WHERE {each})" for each in pair]
    return f'SELECT {", ".join(counts)} FROM "{table}" t'


def _of_others(table: str) -> str:
    """Return the condition that a row which is still there belongs to another customer."""
    if table in _OF_CUSTOMERS:
        return "true"
    if table == "audit_log":
        return "(t.lead_id IS NOT NULL)"
    if table in ("conflicts", "skips", "quarantine"):
        return "(coalesce(t.lead_external_id <> ALL (CAST(:names AS text[])), false))"
    return "false"


def _holds(column: Row[Any], within: str, exact: str, *, spaced: bool = False) -> str:
    """Return the condition that a column holds what is looked for; false where it is null.

    `spaced`: in whatever spacing, also as JSON writes it.
    """
    name = f't."{column.column_name}"'
    small = f"lower(CAST({name} AS text))"
    if spaced:
        small += rf" || ' ' || regexp_replace({small}, '(\s|\\[nrt])+', ' ', 'g')"
    if column.form == "id":
        return f"coalesce({name} = ANY (CAST(:ids AS uuid[])), false)"
    if column.form == "bytes":
        return (
            f"EXISTS (SELECT FROM (SELECT lower(encode({name}, 'escape')) AS value OFFSET 0) AS v,"
            " unnest(CAST(:within AS text[]), CAST(:within_as AS text[])) AS w (word, pattern)"
            " WHERE strpos(v.value, lower(encode(convert_to(w.word, 'UTF8'), 'escape'))) > 0"
            # What is no plain letter is written in digits there: it ends a word.
            r" AND (w.word ~ '[^ -~]|\\'"
            r" OR regexp_replace(v.value, '\\[0-7]{3}', ' ', 'g') ~ w.pattern))"
        )
    return (
        f"(EXISTS (SELECT FROM (SELECT {small} AS value OFFSET 0) AS v,"
        f" unnest(CAST(:{within} AS text[]), CAST(:{within}_as AS text[])) AS w (word, pattern)"
        f" WHERE strpos(v.value, w.word) > 0 AND v.value ~ w.pattern)"
        f" OR coalesce(CAST({name} AS text) = ANY (CAST(:{exact} AS text[])), false))"
    )

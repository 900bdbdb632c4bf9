"""Reads quarantined records again: a run like any other, whose source is the quarantine."""

import uuid
from pathlib import Path

from sqlalchemy import Connection, RowMapping

from backstory.backfill import journey
from backstory.backfill.manifest import make_directory
from backstory.backfill.options import BackfillOptions
from backstory.backfill.report import Report
from backstory.extract.customers import HUB_LIMIT
from backstory.extract.line_rules import LineRules
from backstory.model import RunMode
from backstory.runs import run as runs
from backstory.runs.progress import Listener
from backstory.store.engine import Database, translated
from backstory.store.quarantine import raw_records, resolve, retry_groups


def retry(
    database: Database,
    home: Path,
    reference: str | None = None,
    listener: Listener | None = None,
    *,
    lines: LineRules | None = None,
    hub_limit: int = HUB_LIMIT,
) -> list[Report]:
    """Try the open quarantine again, of one run or all; return a report for each way of reading.

    Records that were read with other options (time zone, mapping) make runs of their own. What
    fails again stays in quarantine; a rollback of the retry puts the rest back there. `lines` are
    the rules by which events are rendered, None for ours; `hub_limit` is for its rollback.
    """
    with translated(), database.engine.begin() as connection:
        of_run = runs.get_run(connection, reference).id if reference else None
        groups = retry_groups(connection, of_run)
    return [
        _retry(database, home, of_run, group, listener, lines=lines, hub_limit=hub_limit)
        for group in groups
    ]


def _retry(
    database: Database,
    home: Path,
    of_run: uuid.UUID | None,
    group: RowMapping,
    listener: Listener | None,
    *,
    lines: LineRules | None,
    hub_limit: int,
) -> Report:
    run_id = uuid.uuid4()
    directory = make_directory(home, run_id)
    file = directory / "quarantine.jsonl"
    with translated(), database.engine.begin() as connection:
        _write_lines(connection, of_run, group, file)
    given = group["options"]
    options = BackfillOptions(
        audit=(str(file),),
        log=group["log"],
        columns=given["columns"],
        assume_tz=given["assume_tz"],
        unknown_actor=given["unknown_actor"],
        region=given["region"],
        listed=given["listed"],
        mode=RunMode.RETRY,
        lines=lines,
        hub_limit=hub_limit,
    )

    def mark(connection: Connection) -> None:
        resolve(connection, of_run=of_run, group=group, by=run_id)

    return journey.begin(database, run_id, directory, options.check(), listener, also=mark)


def _write_lines(
    connection: Connection, of_run: uuid.UUID | None, group: RowMapping, file: Path
) -> None:
    """Write records so that reading gives each of them back, byte by byte.

    The blank line keeps the first from being taken for a byte order mark or for an archive.
    """
    with file.open("wb") as lines:
        lines.write(b"\n")
        for _, raw in raw_records(connection, of_run, group):
            lines.write(raw + b"\r\n")

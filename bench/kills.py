"""A storm of kills: processes of a backfill die at random moments, resume follows, nothing is lost.

    python bench/kills.py --kills 200 --records 20000

Each time a random process of the run (the parent or a worker) gets SIGKILL after a random while,
then the run is resumed. When it is done, the rows are compared with those of a run that nobody
killed, and the storm begins anew in a fresh schema until there were kills enough.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import psycopg
from load import HERE, drop_schema, embedded_url, fresh_schema, generate, plain_url

from backstory.config import Settings

COMPARED = {
    "audit_log": "id, audit_id, lead_id, payload::text, seq, created_at",
    "messages": "id, conversation_id, customer_id, role, kind, content, seq, created_at",
    "conversations": "id, lead_id, customer_id, started_at, last_message_at, last_incoming_at",
    "leads": "id, customer_id, external_id",
    "customers": "id",
}


def main() -> None:
    """Storm until there were kills enough, then print what was lost and doubled."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data", type=Path, default=HERE / "data")
    parser.add_argument("--database", default=Settings().database_url)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    url = options.database or embedded_url(options.data)
    folder = generate(options.data, options.records)
    result = storm(url, folder, kills=options.kills, seed=options.seed)
    if options.json:
        print(json.dumps(result))
    else:
        print(
            f"{result['kills']} kills in {result['runs']} runs of {options.records:,} records: "
            f"{result['lost']} lost, {result['doubled']} doubled, "
            f"{result['differing']} tables that differ from a run nobody killed"
        )
    sys.exit(1 if result["lost"] or result["doubled"] or result["differing"] else 0)


def storm(url: str, folder: Path, *, kills: int, seed: int) -> dict[str, int]:
    """Return kills, runs, records lost and doubled, and tables that differ from a clean run."""
    chance = random.Random(seed)
    started = time.monotonic()
    fresh_schema(url, "kills_clean")
    _command(url, "kills_clean", folder, *_backfill(folder)).wait()
    clean_seconds = time.monotonic() - started
    clean = _digests(url, "kills_clean")
    result = {"kills": 0, "runs": 0, "lost": 0, "doubled": 0, "differing": 0}
    while result["kills"] < kills:
        fresh_schema(url, "kills")
        arguments = _backfill(folder)
        while True:
            process = _command(url, "kills", folder, *arguments)
            if result["kills"] < kills and _kill_within(process, clean_seconds, chance):
                result["kills"] += 1
            process.wait()
            if _done(url):
                break
            arguments = ["resume", "last"] if _begun(url) else _backfill(folder)
        result["runs"] += 1
        _compare(result, clean, _digests(url, "kills"))
    for schema in ("kills", "kills_clean"):
        drop_schema(url, schema)
    return result


def _backfill(folder: Path) -> list[str]:
    return [
        "backfill", "--audit", str(folder / "audit.jsonl"),
        "--leads", str(folder / "leads.jsonl"), "--workers", "2",
    ]  # fmt: skip


def _command(url: str, schema: str, folder: Path, *arguments: str) -> "subprocess.Popen[bytes]":
    command = [
        sys.executable, "-m", "backstory", *arguments, "--database", url, "--schema", schema,
        "--home", str(folder / "home"), "--json",
    ]  # fmt: skip
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _kill_within(process: "subprocess.Popen[bytes]", seconds: float, chance: random.Random) -> bool:
    """Kill the process or one of its workers after a random while; return whether one was hit."""
    deadline = time.monotonic() + chance.uniform(0.05, 1.0) * seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            return False
        time.sleep(0.01)
    try:
        family = [process.pid]
        family += [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
        victim = process.pid if chance.random() < 0.5 else chance.choice(family)
        os.kill(victim, signal.SIGKILL)
    except (psutil.NoSuchProcess, ProcessLookupError):
        return False
    return True


def _status(url: str) -> str | None:
    with psycopg.connect(plain_url(url)) as connection:
        row = connection.execute(
            "SELECT status FROM kills.backfill_runs ORDER BY created_at DESC LIMIT 1"
        ).fetchone()
    return row[0] if row else None


def _done(url: str) -> bool:
    return _status(url) == "done"


def _begun(url: str) -> bool:
    return _status(url) is not None


def _digests(url: str, schema: str) -> dict[str, tuple[int, str]]:
    """Return, for each table, how many rows it has and a digest of what they say."""
    found = {}
    with psycopg.connect(plain_url(url)) as connection:
        for table, columns in COMPARED.items():
            where = "WHERE log <> 'backstory'" if table == "audit_log" else ""
            row = connection.execute(
                f"SELECT count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) "
                f"FROM (SELECT {columns} FROM {schema}.{table} {where}) t"
            ).fetchone()
            found[table] = row or (0, "")
    return found


def _compare(
    result: dict[str, int],
    clean: dict[str, tuple[int, str]],
    stormy: dict[str, tuple[int, str]],
) -> None:
    missing = clean["messages"][0] - stormy["messages"][0]
    result["lost"] += max(missing, 0)
    result["doubled"] += max(-missing, 0)
    result["differing"] += sum(stormy[table] != clean[table] for table in COMPARED)


if __name__ == "__main__":
    main()

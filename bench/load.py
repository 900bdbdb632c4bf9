"""The main job against its floor: a first load, a re-run, and two bare COPY streams, in one run.

    python bench/load.py --records 1000000 --workers 1 2

The floor copies the finished rows of the two large tables (the log included) from files, in two
parallel streams, into the same tables with the same indexes built the same way: b-trees and
foreign keys in place, the search index afterwards. Quote the ratios; the machine sets the rest.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from multiprocessing import Process
from pathlib import Path
from typing import Any

import psutil
import psycopg
from sqlalchemy import text
from sqlalchemy.engine import make_url

from backstory.config import Settings
from backstory.store import embedded
from backstory.store.engine import Database
from backstory.store.schema import upgrade
from backstory.store.statements import statements

HERE = Path(__file__).parent
LARGE = ("audit_log", "messages")
SMALL = ("customers", "leads", "conversations")
STREAMS = 2


def main() -> None:
    """Run every measurement for every size and print one table and one JSON object."""
    options = _arguments()
    url = options.database or embedded_url(options.data)
    results = [_measure(url, options, records) for records in options.records]
    if options.json:
        print(json.dumps(results, indent=2))
    else:
        for result in results:
            _print(result)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, nargs="+", default=[100_000])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--data", type=Path, default=HERE / "data")
    parser.add_argument("--database", default=Settings().database_url)
    parser.add_argument(
        "--keep", action="store_true", help="leave the last load for other benchmarks"
    )
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def embedded_url(data: Path) -> str:
    """Return the address of an embedded server below `data`."""
    return embedded.start(data.absolute() / "home", linger=600).url


def generate(data: Path, records: int) -> Path:
    """Return the folder with a generated log of so many records, making it if need be."""
    folder = data.absolute() / str(records)
    if not (folder / "audit.jsonl").exists():
        command = [sys.executable, HERE / "generate.py", "--records", str(records), "--out", folder]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder


def _measure(url: str, options: argparse.Namespace, records: int) -> dict[str, Any]:
    folder = generate(options.data, records)
    result: dict[str, Any] = {"records": records, "loads": {}}
    for workers in options.workers:
        schema = f"bench_{records}"
        fresh_schema(url, schema)
        first = _backfill(url, schema, folder, workers)
        again = _backfill(url, schema, folder, workers)
        result["loads"][workers] = {"first": first, "again": again}
    result["floor"] = _floor(url, f"bench_{records}", folder)
    for load in result["loads"].values():
        load["share_of_floor"] = result["floor"]["seconds"] / load["first"]["seconds"]
        load["again_times_faster"] = load["first"]["seconds"] / load["again"]["seconds"]
    if not options.keep:
        drop_schema(url, f"bench_{records}")
    return result


def _backfill(url: str, schema: str, folder: Path, workers: int) -> dict[str, Any]:
    command = [
        sys.executable, "-m", "backstory", "backfill", "--database", url, "--schema", schema,
        "--home", folder / "home", "--audit", folder / "audit.jsonl",
        "--leads", folder / "leads.jsonl", "--workers", str(workers), "--json",
    ]  # fmt: skip
    started = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        peaks: dict[int, int] = {}
        watcher = threading.Thread(target=_watch_memory, args=(process.pid, peaks))
        watcher.start()
        out, _ = process.communicate()
        watcher.join()
    if process.returncode:
        raise SystemExit(f"backfill failed with {process.returncode}: {out.decode()}")
    report = json.loads(out)
    return {
        "seconds": time.monotonic() - started,
        "seconds_by_step": report["seconds_by_step"],
        "messages_created": report["messages_created"],
        "peak_mb": [round(peak / 1e6) for peak in peaks.values()],
    }


def _watch_memory(pid: int, peaks: dict[int, int]) -> None:
    """Keep the largest resident size of the process and of each of its children."""
    try:
        parent = psutil.Process(pid)
        while parent.is_running() and parent.status() != psutil.STATUS_ZOMBIE:
            for process in (parent, *parent.children(recursive=True)):
                try:
                    peaks[process.pid] = max(peaks.get(process.pid, 0), process.memory_info().rss)
                except psutil.NoSuchProcess:
                    continue
            time.sleep(0.1)
    except psutil.NoSuchProcess:
        return


# --- the floor -------------------------------------------------------------------------------


def _floor(url: str, schema: str, folder: Path) -> dict[str, Any]:
    files = _unload(url, schema, folder)
    fresh_schema(url, f"{schema}_floor")
    database = Database.open(url, f"{schema}_floor")
    for table in SMALL:
        _copy_in(url, database.schema, [(table, files[table])])
    with database.engine.begin() as connection:
        connection.execute(text(statements()["drop_search_index"].body))
    started = time.monotonic()
    streams = [
        Process(
            target=_copy_in,
            args=(url, database.schema, [(table, files[f"{table}-{n}"]) for table in LARGE]),
        )
        for n in range(STREAMS)
    ]
    for stream in streams:
        stream.start()
    for stream in streams:
        stream.join()
    copied = time.monotonic() - started
    with database.engine.begin() as connection:
        for name in ("tune_for_index", "ensure_search_index", "analyze_loaded"):
            connection.execute(text(statements()[name].body))
    seconds = time.monotonic() - started
    database.engine.dispose()
    drop_schema(url, database.schema)
    for file in files.values():
        file.unlink()
    return {"seconds": seconds, "copy_seconds": copied, "index_seconds": seconds - copied}


def _unload(url: str, schema: str, folder: Path) -> dict[str, Path]:
    """Write the finished rows to files: large tables in two halves of whole conversations."""
    files: dict[str, Path] = {}
    with psycopg.connect(plain_url(url)) as connection:
        connection.execute(f"SET search_path TO {schema}")
        for table in (*SMALL, *LARGE):
            columns = ", ".join(_columns(connection, schema, table))
            for part in range(STREAMS) if table in LARGE else (None,):
                name = table if part is None else f"{table}-{part}"
                files[name] = folder / f"{name}.copy"
                where = "" if part is None else _HALF[table].format(part=part, streams=STREAMS)
                query = f"COPY (SELECT {columns} FROM {table} t {where}) TO STDOUT (FORMAT BINARY)"
                with files[name].open("wb") as file, connection.cursor().copy(query) as copy:
                    for data in copy:
                        file.write(data)
    return files


# As the product writes them: conversation by conversation.
_HALF = {
    "audit_log": "WHERE log <> 'backstory' "
    "AND get_byte(uuid_send(lead_id), 0) % {streams} = {part} ORDER BY lead_id, created_at, seq",
    "messages": "JOIN (SELECT c.id AS cid, c.lead_id FROM conversations c) c "
    "ON c.cid = t.conversation_id WHERE get_byte(uuid_send(c.lead_id), 0) % {streams} = {part} "
    "ORDER BY c.lead_id, t.created_at, t.seq",
}


def _columns(connection: "psycopg.Connection[Any]", schema: str, table: str) -> list[str]:
    rows = connection.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = %s "
        "AND table_name = %s AND is_generated = 'NEVER' ORDER BY ordinal_position",
        (schema, table),
    )
    return [f't."{name}"' for (name,) in rows]


def _copy_in(url: str, schema: str, parts: list[tuple[str, Path]]) -> None:
    with psycopg.connect(plain_url(url)) as connection:
        connection.execute(f"SET search_path TO {schema}, public")
        connection.execute("SET synchronous_commit TO off")
        for table, file in parts:
            columns = ", ".join(name[2:] for name in _columns(connection, schema, table))
            query = f"COPY {table} ({columns}) FROM STDIN (FORMAT BINARY)"
            with file.open("rb") as source, connection.cursor().copy(query) as copy:
                while data := source.read(1 << 18):
                    copy.write(data)
        connection.commit()


def plain_url(url: str) -> str:
    """Return the URL as psycopg takes it."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def fresh_schema(url: str, schema: str) -> None:
    """Make the schema anew, empty."""
    drop_schema(url, schema)
    database = Database.open(url, schema)
    upgrade(database.engine, schema)
    database.engine.dispose()


def drop_schema(url: str, schema: str) -> None:
    """Remove the schema with all it holds."""
    with psycopg.connect(plain_url(url), autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
        connection.execute("CHECKPOINT")


def _print(result: dict[str, Any]) -> None:
    records = result["records"]
    floor = result["floor"]["seconds"]
    print(f"{records:,} records")
    print(f"  floor, two COPY streams   {floor:8.1f} s  {records / floor:10,.0f} messages/s")
    for workers, load in result["loads"].items():
        first, again = load["first"], load["again"]
        print(
            f"  first load, {workers} worker(s)   {first['seconds']:8.1f} s  "
            f"{records / first['seconds']:10,.0f} messages/s  "
            f"{load['share_of_floor']:.2f} of the floor"
        )
        print(f"    steps {first['seconds_by_step']}  peak MB {first['peak_mb']}")
        print(
            f"  again, nothing to do      {again['seconds']:8.1f} s  "
            f"{load['again_times_faster']:.1f} times the rate  peak MB {again['peak_mb']}"
        )


if __name__ == "__main__":
    os.environ.pop("BACKSTORY_SCHEMA", None)
    main()

"""The server: every tool with 16 clients at once, and events of 8 clients while it is killed.

    python bench/load.py --records 1000000 --keep
    python bench/server.py --schema bench_1000000 --words bench/data/1000000/words.json --url ...

It starts `backstory serve` on this machine and writes into the schema it is given. Clients are
processes of their own, with one connection each; they share the processors with the server and the
database. They ask again as soon as they are answered, which keeps 16 calls under way at any time,
and then once more with a pause before each call, as a model makes one that thinks.
"""

import argparse
import itertools
import json
import os
import random
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import Event, Process, Queue
from pathlib import Path
from time import perf_counter
from typing import Any

from sqlalchemy import text

from backstory.model import KeyProfile
from backstory.store.engine import Database
from backstory.store.keys import create_key
from backstory.store.schema import upgrade

SEED = 7
TOOL_CLIENTS = 16
EVENT_CLIENTS = 8
LEADS_OF_A_CLIENT = 50
PORT = 18_080
_LENGTH = re.compile(rb"content-length: *([0-9]+)", re.IGNORECASE)


def main() -> None:
    """Measure what was asked for, and print it."""
    options = _arguments()
    database = Database.open(options.url, options.schema)
    upgrade(database.engine, database.schema)
    with database.engine.begin() as connection:
        _, key = create_key(connection, "bench", KeyProfile.AGENT)
    found: dict[str, Any] = {"load_before": os.getloadavg()[0]}
    if options.words:
        words = json.loads(options.words.read_text(encoding="utf-8"))
        for pause in (0, options.pause):
            found[f"tools, {pause} s between calls"] = _tools(
                options, database, key, words=words, pause=pause
            )
    found["events"] = _events(options, database, key)
    _print(found, as_json=options.json)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", required=True)
    parser.add_argument("--schema", required=True)
    parser.add_argument("--words", type=Path, help="words of the log; without, events only")
    parser.add_argument("--pause", type=float, default=0.2, help="seconds that a model thinks")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--workers", type=int, help="of the server; without, as many as it likes")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


# --- the server ------------------------------------------------------------------------------


@contextmanager
def _served(options: argparse.Namespace) -> Iterator["subprocess.Popen[bytes]"]:
    with tempfile.TemporaryDirectory() as home:
        said = Path(home) / "said"
        command = [sys.executable, "-m", "backstory", "serve", "--port", str(PORT)]
        free = ["--key-rate", "0", "--session-rate", "0"]
        if options.workers is not None:
            free += ["--workers", str(options.workers)]
        environment = os.environ | {
            "DATABASE_URL": options.url,
            "BACKSTORY_SCHEMA": options.schema,
            "BACKSTORY_HOME": home,
            "CONTEXT_MEMORY_ENABLED": "true",
        }
        with said.open("wb") as err:
            server = subprocess.Popen([*command, *free], env=environment, stderr=err)
        while not re.search(r"http://", said.read_text()):
            if server.poll() is not None:
                raise SystemExit(said.read_text())
            time.sleep(0.05)
        try:
            yield server
        finally:
            server.kill()
            server.wait()


class Client:
    """One connection that is kept; asks again after it was lost.

    A plain socket, because Python's own client costs as much as the server, on the same cores.
    """

    def __init__(self, credential: str) -> None:
        self._head = (
            f"Host: 127.0.0.1:{PORT}\r\nAuthorization: Bearer {credential}\r\n"
            "Content-Type: application/json\r\nContent-Length: "
        )
        self._socket: socket.socket | None = None

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        """Return status and answer; raises OSError if there is none."""
        sent = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\n{self._head}{len(sent)}\r\n\r\n"
        try:
            if self._socket is None:
                self._socket = socket.create_connection(("127.0.0.1", PORT), timeout=30)
            self._socket.sendall(head.encode() + sent)
            status, answer = self._answer(self._socket)
        except OSError:
            if self._socket is not None:
                self._socket.close()
                self._socket = None
            raise
        return status, json.loads(answer)

    @staticmethod
    def _answer(connection: socket.socket) -> tuple[int, bytes]:
        head, found, body = b"", None, b""
        while found is None or len(body) < int(found[1]):
            piece = connection.recv(65_536)
            if not piece:
                raise ConnectionError("The server closed the connection.")
            head += piece
            begin, end, body = head.partition(b"\r\n\r\n")
            found = _LENGTH.search(begin) if end else None
        return int(head[9:12]), body


def _run(clients: int, work: Callable[..., None], **arguments: Any) -> Iterator[Any]:
    """Run clients as processes, and yield what each of them puts into the queue."""
    results: Queue[Any] = Queue()
    processes = [
        Process(target=work, args=(number, results), kwargs=arguments) for number in range(clients)
    ]
    for process in processes:
        process.start()
    for _ in processes:
        yield results.get()
    for process in processes:
        process.join()


def _quantiles(times: list[float]) -> dict[str, float]:
    ordered = sorted(1000 * each for each in times)
    return {
        "calls": len(ordered),
        "p50": statistics.median(ordered),
        "p95": ordered[int(0.95 * (len(ordered) - 1))],
        "max": ordered[-1],
    }


# --- tools -----------------------------------------------------------------------------------


def _tools(
    options: argparse.Namespace,
    database: Database,
    key: str,
    *,
    words: dict[str, list[str]],
    pause: float,
) -> dict[str, Any]:
    # One of each customer: two agents of one customer would change what the other was shown.
    statement = "SELECT DISTINCT ON (customer_id) id FROM leads ORDER BY customer_id, id"
    with database.engine.connect() as connection:
        leads = connection.execute(text(statement)).scalars().all()
    chosen = [str(lead) for lead in random.Random(SEED).sample(list(leads), len(leads))]
    spent: dict[str, list[float]] = {}
    errors = 0
    with _served(options):
        started = perf_counter()
        asked = {"key": key, "leads": chosen, "words": words, "pause": pause}
        asked |= {"seconds": options.seconds}
        for times, failed in _run(TOOL_CLIENTS, _agent, **asked):
            errors += failed
            for tool, each in times.items():
                spent.setdefault(tool, []).extend(each)
        seconds = perf_counter() - started
    calls = sum(map(len, spent.values()))
    rows = {tool: _quantiles(times) for tool, times in spent.items()}
    return {"by_tool": rows, "calls_a_second": calls / seconds, "errors": errors}


def _agent(
    number: int,
    results: "Queue[Any]",
    *,
    key: str,
    leads: list[str],
    words: dict[str, list[str]],
    pause: float,
    seconds: float,
) -> None:
    """Talk with one contact after the other until the time is up, with none twice if it can be."""
    pick = random.Random(SEED + number)
    spent: dict[str, list[float]] = {}
    failed = 0
    until = perf_counter() + seconds
    for lead in itertools.cycle(leads[number::TOOL_CLIENTS]):
        if perf_counter() >= until:
            break
        _, opened = Client(key).post("/v1/sessions", {"lead": lead})
        client = Client(opened["token"])

        def call(tool: str, client: Client = client, **arguments: Any) -> dict[str, Any]:
            time.sleep(pause * pick.uniform(0.5, 1.5))
            started = perf_counter()
            status, answer = client.post(f"/v1/tools/{tool}", arguments)
            spent.setdefault(tool, []).append(perf_counter() - started)
            if status != 200:
                raise SystemExit(f"{tool}: {status} {answer}")
            return dict(answer)

        try:
            _conversation(call, words, pick)
        except (SystemExit, OSError) as error:
            failed += 1
            print(error, file=sys.stderr)
    results.put((spent, failed))


def _conversation(
    call: Callable[..., dict[str, Any]], words: dict[str, list[str]], pick: random.Random
) -> None:
    call("upsert_customer_profile", name=f"Name {uuid.uuid4().hex[:8]}")
    place = call("add_address", line1=f"{pick.randint(1, 9999)} Oak St", city="Austin")
    address = place["address"]["address_id"]
    title = f"Job {uuid.uuid4().hex[:8]}"
    job = call("create_job", title=title, address_id=address)["job"]["job_id"]
    call("add_job_item", job_id=job, kind="item", name="Sofa", unit_price_cents=4500)
    call("record_job_event", job_id=job, event_type="started")
    common = pick.sample([*words["hub"], *words["common"]], 4)
    query = " ".join([*common, *pick.sample(words["rare"], 2)])
    shown = call("memory_fetch_candidates", query=query, k=5)["candidates"]
    if shown:
        call("memory_confirm_context", candidate_ids=[each["candidate_id"] for each in shown[:2]])


# --- events ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sent:
    """What a client sent with an answer, and how long each took."""

    prefix: str
    answered: int
    times: list[float]
    repeated: int
    failed: int


def _events(options: argparse.Namespace, database: Database, key: str) -> dict[str, Any]:
    """Send for so many seconds, then once more while the server is killed and started again.

    The leads are made known first: a new one is linked, which is another thing to measure.
    """
    with _served(options):
        leads = [f"bench-{n}-{m}" for n in range(EVENT_CLIENTS) for m in range(LEADS_OF_A_CLIENT)]
        client = Client(key)
        for number, lead in enumerate(leads):
            client.post("/v1/events", _event(f"{lead}-begun", lead, number))
    steady = _sending(options, database, key, kill=False)
    killed = _sending(options, database, key, kill=True)
    return {"steady": steady, "killed_once": killed}


def _sending(
    options: argparse.Namespace, database: Database, key: str, *, kill: bool
) -> dict[str, Any]:
    batch, stop = uuid.uuid4().hex[:8], Event()
    results: Queue[Sent] = Queue()
    clients = [
        Process(target=_sender, args=(number, results, key, batch, stop))
        for number in range(EVENT_CLIENTS)
    ]
    with _served(options) as server:
        for client in clients:
            client.start()
        started = perf_counter()
        time.sleep(options.seconds / 2 if kill else options.seconds)
        if kill:
            server.kill()
            server.wait()
        else:
            stop.set()
        sent = [] if kill else [results.get() for _ in clients]
        seconds = perf_counter() - started
    if kill:
        with _served(options):
            time.sleep(options.seconds / 2)
            stop.set()
            sent = [results.get() for _ in clients]
    for client in clients:
        client.join()
    answered = sum(each.answered for each in sent)
    times = [each for one in sent for each in one.times]
    return {
        "answered": answered,
        "a_second": None if kill else answered / seconds,
        "repeated": sum(each.repeated for each in sent),
        "errors": sum(each.failed for each in sent),
        **_quantiles(times),
        **_compared(database, batch, sent),
    }


def _sender(number: int, results: "Queue[Sent]", key: str, batch: str, stop: Any) -> None:
    client, place, times = Client(key), 0, list[float]()
    repeated = failed = 0
    pick = random.Random(SEED + number)
    while not stop.is_set():
        lead = f"bench-{number}-{pick.randrange(LEADS_OF_A_CLIENT)}"
        event = _event(f"{batch}-{number}-{place}", lead, place)
        while True:
            started = perf_counter()
            try:
                status, _ = client.post("/v1/events", event)
            except OSError:
                repeated += 1
                time.sleep(0.05)
                continue
            times.append(perf_counter() - started)
            failed += status not in {200, 201}
            break
        place += 1
    results.put(Sent(f"{batch}-{number}-", place, times, repeated, failed))


def _event(audit_id: str, lead: str, number: int) -> dict[str, Any]:
    return {
        "id": audit_id,
        "lead_id": lead,
        "actor": "customer" if number % 2 else "agent",
        "action": "message_received",
        "payload": {"text": f"Event {number}: we would come on Friday, same place as last time"},
        "created_at": time.time(),
    }


def _compared(database: Database, batch: str, sent: list[Sent]) -> dict[str, int]:
    """Compare what was answered with what is in the tables."""
    with database.engine.connect() as connection:
        rows = connection.execute(
            text("SELECT audit_id FROM messages WHERE audit_id LIKE :like"), {"like": f"{batch}-%"}
        )
        kept = [audit_id for (audit_id,) in rows]
    wanted = {f"{each.prefix}{place}" for each in sent for place in range(each.answered)}
    return {"lost": len(wanted - set(kept)), "doubled": len(kept) - len(set(kept))}


def _print(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(found, indent=2))
        return
    print(f"load before: {found['load_before']:.1f}")
    for kind in [kind for kind in found if kind.startswith("tools")]:
        tools = found[kind]
        print(f"{kind}: {tools['calls_a_second']:.0f} calls a second, {tools['errors']} errors")
        print(f"{'tool':28} {'calls':>6} {'p50':>8} {'p95':>8} {'max':>8}   milliseconds")
        for name, row in tools["by_tool"].items():
            print(
                f"{name:28} {row['calls']:6} {row['p50']:8.1f} {row['p95']:8.1f} {row['max']:8.1f}"
            )
    for name, row in found["events"].items():
        rate = "" if row["a_second"] is None else f"{row['a_second']:.0f} a second, "
        print(
            f"events, {name}: {row['answered']:,} answered, {rate}p50 {row['p50']:.1f} ms, "
            f"p95 {row['p95']:.1f} ms; {row['repeated']} repeated, {row['errors']} errors, "
            f"{row['lost']} lost, {row['doubled']} doubled"
        )


if __name__ == "__main__":
    main()

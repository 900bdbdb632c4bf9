"""The stations of `backstory demo`: each shows one thing and says in a line what it proves."""

import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from rich.console import Group, RenderableType
from rich.text import Text

from backstory import sample
from backstory.backfill.journey import start
from backstory.backfill.options import BackfillOptions
from backstory.backfill.plan import plan
from backstory.backfill.report import Report
from backstory.backfill.verify import Verdict, verify
from backstory.errors import DatabaseError, ModelError
from backstory.faces.cli import returning, understanding
from backstory.faces.cli.call import Call
from backstory.faces.cli.checking_views import gates_table, verdict_summary
from backstory.faces.cli.conversation_views import days_view
from backstory.faces.cli.plain import one_line
from backstory.faces.cli.reading_views import answer_json, hit_line, snippet
from backstory.faces.cli.reporting import plan_facts
from backstory.faces.cli.screen import (
    count,
    counted,
    duration,
    facts,
    hint,
    indented,
    show,
    table,
    text,
)
from backstory.search.text import SearchAnswer, SearchQuery, search_messages
from backstory.store.conversations import (
    MAX_PAGE,
    ConversationHeader,
    Message,
    find_conversation,
    messages,
)
from backstory.store.engine import Database, translated
from backstory.tools.session import Rules, open_session

QUERY = "quote"
LEFT_OUT = "a recall that words alone would miss"
_HITS = 3
_BEFORE, _AFTER = 2, 3
_BAR = 40
_SAMPLE_CONVERSATIONS = 3


@dataclass
class Tour:
    """One walk through; everything shown is what has just happened."""

    call: Call
    home: Path
    rules: Rules
    may_fetch: bool = False
    _options: BackfillOptions = field(init=False)
    _told: dict[str, Any] = field(default_factory=dict)
    _stations: int = 0

    def __post_init__(self) -> None:
        self.rules = replace(self.rules, memory_enabled=True)
        audit, leads = sample.paths()
        self._options = BackfillOptions(
            audit=(str(audit),), leads=(str(leads),), lines=self.call.lines
        )

    def plan(self) -> None:
        """Show what a run would do, before the schema is there."""
        report = plan(None, self.home, self._options)
        self._told["plan"] = report.as_json()
        self._welcome()
        self._station(
            "Plan",
            "backfill --dry-run reads everything, decides everything, writes nothing.",
            facts(plan_facts(report)),
        )

    def through(self, database: Database) -> bool:
        """Walk on from the run to the ways out; say whether every gate held."""
        first = self._run(database)
        self._again(database)
        self._roles(first)
        with translated(), database.engine.connect() as connection:
            verdict = verify(
                connection,
                now=datetime.now(UTC),
                sample=_SAMPLE_CONVERSATIONS,
                lines=self.call.lines,
            )
            connection.rollback()
            answer = search_messages(connection, SearchQuery(QUERY, limit=_HITS))
            best = answer.hits[0]
            header = find_conversation(connection, str(best.conversation_id))
            page = messages(connection, header.id, limit=MAX_PAGE)
        self._gates(verdict)
        self._search(answer)
        self._conversation(header, page.messages, best.id)
        self._meaning(database)
        self._customer_comes_back(database)
        self._ways_out(first, best.id)
        if self.call.json:
            self.call.answer({"schema": database.schema, **self._told})
        return verdict.ok

    def _welcome(self) -> None:
        if not self.call.json:
            show(
                self.call.out,
                text(
                    ("Backstory", "bold"),
                    " on its sample: the audit log of an agent that talks with the customers "
                    "of a hauling company, and its list of leads.",
                ),
            )

    # -- stations ------------------------------------------------------------------------------

    def _run(self, database: Database) -> Report:
        with self.call.progress() as listener:
            report = start(database, self.home, self._options, listener)
        self._told["run"] = report.as_json()
        self._station(
            "Run",
            "Whole conversations are committed together: being killed halves nothing.",
            indented(_steps(report)),
        )
        return report

    def _again(self, database: Database) -> None:
        report = start(database, self.home, self._options)
        self._told["again"] = report.as_json()
        self._station(
            "The same run again",
            "Every id is derived from the record, so nothing is ever written twice.",
            facts(
                [
                    ("records read", count(report.records_read)),
                    ("created", _created(report)),
                    ("already there", count(report.messages_duplicate)),
                    ("took", duration(report.seconds)),
                ]
            ),
        )

    def _roles(self, report: Report) -> None:
        made = table(
            "role", ("messages", {"justify": "right"}), ("share", {"justify": "right"}), ""
        )
        for role, share in report.roles.items():
            bar = "█" * round(share["percent"] / 100 * _BAR)
            made.add_row(
                role, count(int(share["count"])), f"{share['percent']:.2f} %", text((bar, "cyan"))
            )
        self._station(
            "Who speaks", "Each record has the role that its actor names.", indented(made)
        )

    def _gates(self, verdict: Verdict) -> None:
        self._told["verify"] = verdict.as_json()
        self._station(
            "Verify",
            "Checked in the tables themselves, not in counters of the run.",
            indented(gates_table(verdict)),
            indented(verdict_summary(verdict)),
        )

    def _search(self, answer: SearchAnswer) -> None:
        self._told["search"] = answer_json(answer)
        lines: list[RenderableType] = []
        for hit in answer.hits:
            lines += [hit_line(hit), indented(snippet(hit))]
        self._station(
            f"Search for {QUERY!r}",
            f"{counted(answer.total_at_least, 'message')} match; the best first, on an index.",
            indented(Group(*lines)),
        )

    def _conversation(
        self, header: ConversationHeader, said: Sequence[Message], best: UUID
    ) -> None:
        self._told["conversation"] = {"id": header.id, "messages": [asdict(each) for each in said]}
        where = next(place for place, message in enumerate(said) if message.id == best)
        around = said[max(where - _BEFORE, 0) : where + _AFTER + 1]
        self._station(
            "What was said around the best of them",
            f"{one_line(header.customer or header.lead)} on {header.channel}: any match leads to "
            "its conversation, any message back to its audit record.",
            *map(indented, days_view(around, ids=True)),
        )

    def _meaning(self, database: Database) -> None:
        remedy = understanding.lacking(self.call, self.home, may_fetch=self.may_fetch)
        if remedy:
            self._told["meaning"] = {"left_out": remedy}
            return self._leave_out(f"Left out: {LEFT_OUT}. Its model is not here: {remedy}")
        try:
            found = understanding.ask(self.call, database, self.home, self.rules)
        except (DatabaseError, ModelError) as lacking:  # a right; a model that is damaged
            self._told["meaning"] = {"left_out": str(lacking)}
            return self._leave_out(f"Left out: {LEFT_OUT}. {lacking}")
        self._told["meaning"] = found.as_json()
        self._station(
            "Recall what words alone would miss",
            f"{counted(found.embedded, 'message')} embedded on this machine in "
            f"{duration(found.seconds)}, by {found.model.partition('@')[0]}.",
            indented(understanding.answers_view(found)),
        )
        return None

    def _leave_out(self, sentence: str) -> None:
        if not self.call.json:
            show(self.call.out, Text())
            show(self.call.out, hint(sentence))

    def _customer_comes_back(self, database: Database) -> None:
        try:
            session = open_session(database, returning.LEAD, rules=self.rules)
        except DatabaseError as lacking:  # a right, on a server of somebody's
            self._told["agent"] = str(lacking)
            return self._station("A customer comes back", "", hint(str(lacking)))
        talk = returning.serve(session, datetime.now(UTC))
        self._told["agent"] = talk.as_json()
        self._station(
            "A customer comes back",
            "The model is a script, the calls are real. Nothing is reused before a yes.",
            indented(returning.talk_view(talk)),
        )
        return None

    def _ways_out(self, report: Report, best: UUID) -> None:
        ids = [str(each)[:8] for each in (report.run_id, best)]
        self._station("Now you", "", *_commands(self._environment(), *ids))

    def _environment(self) -> list[str]:
        """Return what a shell must know to find the demo again."""
        settings = self.call.settings
        known = {"BACKSTORY_SCHEMA": settings.database_schema}
        for option, name in (("database", "DATABASE_URL"), ("home", "BACKSTORY_HOME")):
            if self.call.given.get(option):
                known[name] = str(self.call.given[option])
        return [f"{name}={shlex.quote(value)}" for name, value in known.items()]

    def _station(self, title: str, proves: str, *shown: RenderableType) -> None:
        """Print a station: its number and title, what it proves, and what there is to see."""
        if self.call.json:
            return
        self._stations += 1
        out = self.call.out
        show(out, Text())
        show(out, text((f"{self._stations}  ", "bold cyan"), (title, "bold")))
        if proves:
            show(out, indented(hint(proves), 3))
        for each in shown:
            show(out, indented(each, 1))


def _created(report: Report) -> Text:
    return text((count(report.messages_created + report.conversations_created), "bold green"))


def _steps(report: Report) -> RenderableType:
    did = {
        "link": f"{counted(report.leads_linked, 'lead')} are "
        f"{counted(report.customers_created, 'customer')}",
        "read": counted(report.records_read, "record"),
        "write": f"{counted(report.conversations_created, 'conversation')}, "
        f"{counted(report.messages_created, 'message')}",
        "check": f"{count(report.records_read)} read = {count(report.audits_processed)} processed "
        f"+ {count(report.audits_skipped)} skipped "
        f"+ {count(report.records_quarantined)} quarantined",
    }
    made = table(("", {"style": "cyan"}), ("", {}), ("", {"justify": "right"}), header=False)
    for step, words in did.items():
        made.add_row(step, words, duration(report.seconds_by_step.get(step, 0.0)))
    return made


def _commands(environment: Sequence[str], run: str, message: str) -> Iterator[RenderableType]:
    lines = [(f"export {each}", "") for each in environment]
    lines[0] = (lines[0][0], "the demo stays, to play with")
    lines += [
        ("backstory search '\"gate code\" or gate'", "find"),
        (f"backstory trace {message}", "a message, back to its record"),
        ("backstory customers", "who is behind the leads"),
        (f"backstory rollback {run} --dry-run", "what an undo would remove"),
    ]
    yield indented(_listed(lines))
    yield indented(_listed([(f"backstory mcp --lead {returning.LEAD}", "her tools")]))
    yield indented(hint("Then your own log, in a schema of its own, first without writing:"))
    yield indented(
        _listed(
            [
                ("unset BACKSTORY_SCHEMA", ""),
                ("backstory backfill --audit log.jsonl --leads leads.jsonl --dry-run", ""),
                ("backstory backfill --audit postgresql://you@host/db --audit-table T", ""),
            ]
        )
    )
    yield indented(
        hint(
            "A record has id, lead_id, actor, action, payload, created_at; "
            "--map lead_id=leadId where yours are called otherwise."
        )
    )


def _listed(lines: Iterable[tuple[str, str]]) -> RenderableType:
    made = table(("", {"style": "cyan"}), ("", {"style": "dim"}), header=False)
    for command, purpose in lines:
        made.add_row(command, purpose)
    return made

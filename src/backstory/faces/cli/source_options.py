"""The options of all commands that read a log: what it is called, and how it is to be read."""

from typing import Annotated

import typer

AuditOption = Annotated[
    list[str] | None,
    typer.Option(
        "--audit",
        metavar="SRC…",
        help="The audit log: files (JSON lines, CSV, Parquet; .gz, .zst), - or postgresql://…",
    ),
]
LeadsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--leads",
        metavar="SRC…",
        help="The list of leads, likewise; without it they are derived from the log.",
    ),
]
GrowingOption = Annotated[
    str,
    typer.Option(
        "--audit",
        metavar="SRC",
        help="The log: a file of JSON lines that grows, or postgresql://…",
    ),
]
EmptyOption = Annotated[
    bool, typer.Option("--allow-empty", help="A source without records is no failure.")
]
LogOption = Annotated[
    str, typer.Option("--log", metavar="NAME", help="Which log the records belong to.")
]
AuditTableOption = Annotated[
    str | None,
    typer.Option("--audit-table", metavar="T", help="The audit table behind a URL."),
]
LeadTableOption = Annotated[
    str | None,
    typer.Option("--lead-table", metavar="T", help="The table of leads behind a URL."),
]
MapOption = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="F=C",
        help="Our field F is called C in the source, e.g. lead_id=leadId; repeatable.",
    ),
]
ZoneOption = Annotated[
    str, typer.Option("--assume-tz", metavar="ZONE", help="The zone of times that name none.")
]
RegionOption = Annotated[
    str,
    typer.Option("--region", metavar="CC", help="The country of phone numbers without a prefix."),
]
HubOption = Annotated[
    int | None,
    typer.Option(
        "--hub-limit",
        metavar="N",
        help="A phone or e-mail of more unconnected identities links nobody, instead of "
        "BACKSTORY_HUB_LIMIT.",
    ),
]
ActorOption = Annotated[
    str,
    typer.Option(
        "--unknown-actor", metavar="skip|system", help="What records of an unknown actor become."
    ),
]

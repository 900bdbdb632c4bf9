"""The options of all commands that read a log: what it is called, and how it is to be read."""

from typing import Annotated

import typer

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
ActorOption = Annotated[
    str,
    typer.Option(
        "--unknown-actor", metavar="skip|system", help="What records of an unknown actor become."
    ),
]

"""Looks whether the database keeps customers apart as it should, and has what makes it quick."""

from uuid import UUID

from sqlalchemy import Connection, exists, select

from backstory.store.agent_role import RIGHTS, role_name
from backstory.store.engine import translated
from backstory.store.statements import sql
from backstory.store.tables import Base

NOBODY = UUID(int=0)


def unprotected_tables(connection: Connection, schema: str) -> list[str]:
    """Return the tables whose rows the policies do not keep, and what is wrong with each."""
    asked = {"schema": schema, "tables": list(Base.metadata.tables)}
    with translated():
        rows = connection.execute(sql("unprotected_tables"), asked)
        return [f"{row.name}: {row.wrong}" for row in rows]


def unsound_indexes(connection: Connection, schema: str) -> list[str]:
    """Return the indexes that are not there or not valid."""
    names = [str(index.name) for table in Base.metadata.sorted_tables for index in table.indexes]
    with translated():
        rows = connection.execute(sql("unsound_indexes"), {"schema": schema, "indexes": names})
        return [f"{row.name} {row.wrong}" for row in rows]


def seen_by_nobody(connection: Connection, schema: str) -> list[str]:
    """Return the customers' tables of which a session of nobody sees a row: there should be none.

    Takes the role of agents on for the rest of the transaction if it fails on the way.
    """
    with translated():
        connection.execute(sql("bind_customer"), {"customer_id": NOBODY, "role": role_name(schema)})
        open_to_agents = (Base.metadata.tables[name] for name in sorted(RIGHTS))
        tables = (t for t in open_to_agents if t.name == "customers" or "customer_id" in t.c)
        seen = [
            table.name
            for table in tables
            if connection.execute(select(exists(select(1).select_from(table)))).scalar_one()
        ]
        connection.execute(sql("unbind_customer"))
    return [f"{name} shows rows" for name in seen]

"""Topics of notes in words, so that `gateWidth` and `gate_width` are one.

Revision: 0011, after 0010. How a key was spelled is not brought back.
"""

import json
import re

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

# As `memory.lead_details` had it when this was written.
BETWEEN = re.compile(
    r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])"
    r"|[\s_\-\u2010-\u2015]+"
)


def upgrade() -> None:
    connection = op.get_bind()
    topics = connection.execute(
        sa.text("SELECT DISTINCT topic FROM memory_notes WHERE topic IS NOT NULL")
    ).scalars()
    given = [{"was": topic, "topic": _in_words(topic)} for topic in topics]
    connection.execute(
        sa.text(
            "UPDATE memory_notes n SET topic = g.topic"
            " FROM json_to_recordset(CAST(:given AS json)) AS g (was text, topic text)"
            " WHERE n.topic = g.was AND g.topic <> g.was"
        ),
        {"given": json.dumps(given)},
    )


def downgrade() -> None:
    """Leave topics as they are: the version before reads them, too."""


def _in_words(topic: str) -> str:
    return ".".join(
        " ".join(BETWEEN.sub(" ", name).split()).lower() or name for name in topic.split(".")
    )

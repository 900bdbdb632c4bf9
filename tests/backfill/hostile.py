"""Logs and lists of leads that nobody would want to load, for hypothesis to choose from."""

import json
from typing import Any

from hypothesis import strategies as st
from oracle import TIMES

LISTED = ("L1", "L2", "5")
STRANGER = "stranger"
ERASED = "erased"

WORDS = (
    "hello",
    "",
    "   ",
    "a\0b",
    "\ud800 alone",
    "tail \udc00",
    "smile \U0001f600",
    "é☃" * 3,
    "x" * 1200,
)
IDS = (
    "a1",
    "a2",
    "a3",
    "a4",
    "7",
    7,
    " a1",
    "a\0",
    "\ud800",
    "é☃",
    "id " * 700,
    "",
    "  ",
    None,
    1.5,
    True,
    {},
    2**70,
)
LEADS = (*LISTED, 5, *LISTED, STRANGER, ERASED, None, "", " ", [], 2.5, "L\0")
ACTORS = (
    *("customer", "user", "agent", "assistant", "system", "tool"),
    *(" Customer ", "AGENT", "robot", "", None, 3, ["user"], "agent\0"),
)
ACTIONS = ("message_sent", "message_received", "quote_created", "", None, 9, "a\0")


class Line(bytes):
    """A line of a log that does not fill the screen when it is shown."""

    __slots__ = ()

    def __repr__(self) -> str:
        return bytes.__repr__(self) if len(self) < 200 else f"<{self[:160]!r}... {len(self)} bytes>"


def holding(payload: bytes, number: int) -> Line:
    """Return a record that is in order but for its payload."""
    return Line(
        b'{"id": "h%d", "created_at": 0, "lead_id": "L1", "actor": "user", "payload": %s}'
        % (number, payload)
    )


def _nested(opening: bytes, closing: bytes, levels: int) -> bytes:
    return opening * levels + b"1" + closing * levels


# Lines that are no record of any kind, and records that PostgreSQL or JSON itself would refuse.
BROKEN = (
    *(b"{", b"null", b"[1, 2]", b'"text"', b"12", b"{}", b"\xef\xbb\xbf{}", b"\0"),
    b'{"id": "b1", "created_at": 0, "payload": {"text": "cut of',
    *(
        holding(payload, number)
        for number, payload in enumerate(
            [
                b"NaN",
                b"[-Infinity]",
                b"1e400",
                b"-1e200000",
                b"9" * 5000,
                b'"\xff\xfe"',
                b'"\xed\xa0\x80"',
                b'"a\0b"',
                b'"a\tb"',
                _nested(b"[", b"]", 600),
                _nested(b'{"a":', b"}", 600),
                b'[{"a":' * 2000,
            ]
        )
    ),
)
# Records in which keys are repeated, numbers are long, or spaces stand where few write them.
ODD = (
    b'{"id": "a1", "id": "o1", "created_at": 0, "lead_id": "L1", "actor": "user", "payload": [1]}',
    b'{"created_at":0,"lead_id":"L2","actor":"user","payload":{"text":"x","text":"y"},"id":"o2"}',
    b'  {"id" : "o3", "created_at"\t: 0, "lead_id" : "L2", "actor" : "user", "payload" : "y"}  ',
    *(
        holding(payload, number)
        for number, payload in enumerate(
            [
                b'{"text": "x", "\\u0074ext": "y"}',
                b'{"a":[{"b":1,"b":2},{"b\\":":3}]}',
                b"18446744073709551616",
                b"[-9223372036854775809]",
                b"[-9999999999999999999]",
                _nested(b"[", b"]", 200),
                b'"\\ud83d\\ude00 \\ud83d \\ude00"',
                b'{"text": " kept "}',
            ],
            100,
        )
    ),
)
# The earliest record of a lead nobody listed is the loser of a conflict, so it is no message.
CONFLICT_OPENS_A_LEAD = [
    b'{"id": "first", "created_at": 0, "lead_id": "L2", "actor": "user", "payload": "late"}',
    b'{"id": "second", "created_at": 1768268512, "lead_id": "L2", "actor": "user", "payload": 2}',
]

words = st.sampled_from(WORDS) | st.text(max_size=8)
scalars = st.none() | st.booleans() | st.integers() | st.sampled_from([0.5, -2.25, 100.0]) | words
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)
spoken = st.fixed_dictionaries(
    {},
    optional={
        "text": words | values,
        "message": words | values,
        "content": words | values,
        "body": words | values,
        "sender_name": words,
        "attachments": values | st.just([{"caption": "a photo", "url": "x"}]),
    },
)
payloads = st.sampled_from([{"text": "hello"}, {"text": "hello there"}]) | spoken | values


@st.composite
def records(draw: st.DrawFn) -> bytes:
    """One record as a line: mostly of the right form, with anything in its fields."""
    record: dict[str, Any] = {
        "id": draw(st.sampled_from(IDS)),
        draw(st.sampled_from(["lead_id", "leadId"])): draw(st.sampled_from(LEADS)),
        "actor": draw(st.sampled_from(ACTORS)),
        "action": draw(st.sampled_from(ACTIONS)),
        "payload": draw(payloads),
        draw(st.sampled_from(["created_at", "createdAt"])): draw(st.sampled_from(TIMES))[0],
        "more": draw(scalars),
    }
    for missing in draw(st.sets(st.sampled_from(sorted(record)), max_size=1)):
        del record[missing]
    order = draw(st.permutations(sorted(record)))
    record = {name: record[name] for name in order}
    compact = draw(st.booleans())
    written = json.dumps(record, separators=(",", ":") if compact else None)
    if draw(st.booleans()):
        plain = json.dumps(record, ensure_ascii=False)
        try:
            return plain.encode()
        except UnicodeEncodeError:
            return written.encode()
    return written.encode()


plain_records = st.builds(
    lambda number, lead, actor, said, moment: json.dumps(
        {
            "id": f"a{number}",
            "lead_id": lead,
            "actor": actor,
            "action": "message_sent",
            "payload": {"text": said},
            "created_at": moment[0],
        }
    ).encode(),
    st.integers(1, 9),
    st.sampled_from(LISTED),
    st.sampled_from(["customer", "agent"]),
    st.sampled_from(["hello", "good-bye"]),
    st.sampled_from(TIMES[:12]),
)

lines = (
    records()
    | plain_records
    | plain_records
    | st.sampled_from([*BROKEN, *ODD])
    | st.sampled_from([b"", b"   ", b"\t"])
    | st.binary(max_size=12).filter(lambda raw: b"\n" not in raw)
)
logs = st.lists(lines, max_size=25)

lead_lines = st.one_of(
    st.builds(
        lambda fields: json.dumps(fields).encode(),
        st.fixed_dictionaries(
            {"id": st.sampled_from([*LISTED, 5, "silent", "", None, 1.5, True])},
            optional={
                "phone": st.sampled_from(["512 555 0142", "n/a", 5125550142, None, "", []]),
                "email": st.sampled_from(["a@example.com", "A@Example.com", "a", None]),
                "messenger_psid": st.sampled_from(["123", "unknown", None]),
                "channel": st.sampled_from(["sms", "messenger", "fax", None, 3]),
                "stage": st.sampled_from(["new", None]),
                "name": st.sampled_from(["Joanie", "a\0b", "\ud800", None]),
                "state_metadata": values,
                "created_at": st.sampled_from(TIMES).map(lambda pair: pair[0]),
            },
        ),
    ),
    st.sampled_from([b"{", b"[]", b"", b'{"id": "L1", "state_metadata": NaN}', b"\xff"]),
)
lead_lists = st.lists(lead_lines, max_size=6)

"""A line of JSON is read strictly: what cannot be stored is mended and counted, or told apart."""

import json
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstory.extract import parse
from backstory.extract.parse import (
    MAX_DEPTH,
    Unreadable,
    canonical_json,
    clean_text,
    from_microseconds,
    microseconds,
    parse_time,
    strict_json,
)

texts = st.text() | st.sampled_from(["\0", "\ud800", "\udc00\ud800", "\U0001f600", '":', "\ufffd"])
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


def code_of(line: bytes, read=strict_json) -> str | None:
    """Return why a line cannot be read, None if it can."""
    try:
        read(line)
    except Unreadable as refused:
        return refused.code
    return None


# --- the two roads ---------------------------------------------------------------------------


@given(
    st.dictionaries(texts, values, max_size=4), st.booleans(), st.sampled_from([(",", ":"), None])
)
def test_the_quick_road_and_the_slow_one_read_the_same(record, escaped, separators):
    written = json.dumps(record, ensure_ascii=escaped, separators=separators)
    line = written.encode("utf-8", "surrogatepass")
    reason = code_of(line, parse._slowly)
    assert code_of(line) == reason
    if reason is None:
        assert repr(strict_json(line)) == repr(parse._slowly(line))


@given(st.binary() | st.text(alphabet='{}[]":, \t\\u0159eE+-.ntrfals').map(str.encode))
def test_any_bytes_are_an_object_or_have_a_reason(line):
    reason = code_of(line)
    assert reason in {None, "bad_json", "bad_utf8", "bad_number", "not_an_object", "too_deep"}
    assert reason == code_of(line, parse._slowly)


# --- what is mended --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "stored", "replaced"),
    [
        (r'"a\u0000b"', "a\ufffdb", 1),
        (r'"\ud800"', "\ufffd", 1),
        (r'"x\udc00y"', "x\ufffdy", 1),
        (r'"\udc00\ud800"', "\ufffd\ufffd", 2),
        (r'"\ud83d\ude00"', "\U0001f600", 0),
        (r'"\ud83d\ude00 \ud83d \u0000"', "\U0001f600 \ufffd \ufffd", 2),
        (r'"\ufffd"', "\ufffd", 0),
        (r'{"k\u0000": "\u0000"}', {"k\ufffd": "\ufffd"}, 2),
        (r'["\u0000", ["\ud800"]]', ["\ufffd", ["\ufffd"]], 2),
    ],
)
def test_nul_and_lone_surrogates_are_replaced_and_counted(written, stored, replaced):
    line = b'{"payload": ' + written.encode() + b"}"
    assert strict_json(line) == ({"payload": stored}, replaced, 0)


@given(texts)
def test_clean_text_can_be_stored_and_counts_what_it_replaced(text):
    cleaned, replaced = clean_text(text)
    cleaned.encode()
    assert "\0" not in cleaned
    assert replaced == cleaned.count("\ufffd") - text.count("\ufffd")
    readable = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    assert len(cleaned) == len(readable)


@pytest.mark.parametrize(
    ("line", "value", "repeated"),
    [
        (b'{"a": 1, "a": 2}', {"a": 2}, 1),
        (b'{"a":1,"a":2,"a":3}', {"a": 3}, 2),
        (b'{"a" : 1, "a": 2}', {"a": 2}, 1),
        (b'{"a"  : 1, "a": 2}', {"a": 2}, 1),
        (b'{"a"\t: 1, "a"\r: 2}', {"a": 2}, 1),
        (b'{"a": 1, "a" \t: 2}', {"a": 2}, 1),
        (b'{"a": 1, "\\u0061": 2}', {"a": 2}, 1),
        (b'{"payload": {"x": 1, "x": [{"y": 1, "y": 2}]}}', {"payload": {"x": [{"y": 2}]}}, 2),
        (b'{"a": "\\":", "b": {"c": "\\":"}}', {"a": '":', "b": {"c": '":'}}, 0),
    ],
)
def test_the_last_of_repeated_keys_wins_and_they_are_counted(line, value, repeated):
    assert strict_json(line) == (value, 0, repeated)


# --- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"NaN", "bad_number"),
        (b"Infinity", "bad_number"),
        (b"[-Infinity]", "bad_number"),
        (b"1e400", "bad_number"),
        (b"-1e400", "bad_number"),
        (b"1e200000", "bad_number"),
        (b"1" * 4301, "bad_number"),
        (b"01", "bad_json"),
        (b"'x'", "bad_json"),
        (b'"a\0b"', "bad_json"),
        (b'"a\tb"', "bad_json"),
        (b'"\xff"', "bad_utf8"),
        (b'"\xed\xa0\x80"', "bad_utf8"),
        (b'"\xc0\x80"', "bad_utf8"),
        (b'"', "bad_json"),
        (b"", "bad_json"),
    ],
)
def test_what_json_or_the_database_forbids_has_a_reason(payload, code):
    assert code_of(b'{"id": 1, "payload": ' + payload + b"}") == code


@pytest.mark.parametrize("line", [b"[]", b"1", b"null", b'"x"', b"true", b"NaN"])
def test_a_record_is_an_object(line):
    assert code_of(line) in {"not_an_object", "bad_number"}


@pytest.mark.parametrize("more", [b"", b', "x": "\\u0000"'])
@pytest.mark.parametrize(
    ("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]")]
)
def test_nesting_is_bounded_and_no_bomb_goes_off(opening, closing, more):
    def nested(levels: int) -> bytes:
        times = levels // opening.count(b"[") if opening.count(b"{") == 0 else levels
        return b'{"p": ' + opening * times + b"1" + closing * times + more + b"}"

    each = 2 if opening == b'[{"a":' else 1
    # The value of `p` is on level 1, so that its innermost number is on level 1 + levels.
    fits = (MAX_DEPTH - 1) // each
    value, _, _ = strict_json(nested(fits))
    assert len(canonical_json(value)) > fits
    for levels in (fits + 1, 2 * fits, 4 * fits, 1000, 1023, 1025, 5000, 100_000):
        assert code_of(nested(levels)) == "too_deep"


def test_brackets_in_a_text_are_no_nesting():
    value, _, _ = strict_json(b'{"text": "' + b"[{" * 5000 + b'"}')
    assert value == {"text": "[{" * 5000}
    many = b'{"list": [' + b"[{}]," * 500 + b"[]]}"
    assert len(strict_json(many)[0]["list"]) == 501


@pytest.mark.parametrize(
    "number",
    [
        *(2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, -9999999999999999999),
        *(10**18, 10**19, 10**20, 10**40, -(10**18), -(10**19), -(10**20), 10**4299),
    ],
)
def test_long_integers_keep_every_digit(number):
    line = b'{"payload": [%d]}' % number
    assert strict_json(line) == ({"payload": [number]}, 0, 0)
    assert canonical_json([number]) == b"[%d]" % number


# --- canonical JSON --------------------------------------------------------------------------


@given(values, st.randoms(use_true_random=False))
def test_canonical_json_does_not_depend_on_order_or_spaces(value, dice):
    value, _ = parse._clean(value, 0)

    def shuffled(each):
        if isinstance(each, dict):
            keys = list(each)
            dice.shuffle(keys)
            return {key: shuffled(each[key]) for key in keys}
        return [shuffled(child) for child in each] if isinstance(each, list) else each

    written = canonical_json(value)
    assert canonical_json(shuffled(value)) == written
    assert json.loads(written) == value
    assert b"\n" not in written


def test_canonical_json_sorts_keys_by_their_characters():
    keys = ["b", "a", "é", "\U0001f600", "\uffff", "A"]
    plain = canonical_json(dict.fromkeys(keys, 1))
    with_long_integer = canonical_json(dict.fromkeys(keys, 10**30))
    assert list(json.loads(plain)) == sorted(keys)
    assert with_long_integer == plain.replace(b":1", b":1" + b"0" * 30)


def test_canonical_json_refuses_a_bomb():
    value: list = []
    for _ in range(400):
        value = [value]
    with pytest.raises(Unreadable) as refused:
        canonical_json(value)
    assert refused.value.code == "too_deep"


# --- times -----------------------------------------------------------------------------------

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("2026-01-13T01:41:52.208Z", datetime(2026, 1, 13, 1, 41, 52, 208000, UTC)),
        ("2026-01-13T01:41:52+05:30", datetime(2026, 1, 12, 20, 11, 52, 0, UTC)),
        ("2026-01-13 01:41:52.123456+00", datetime(2026, 1, 13, 1, 41, 52, 123456, UTC)),
        ("  2026-01-13T01:41:52Z ", datetime(2026, 1, 13, 1, 41, 52, 0, UTC)),
        ("2026-01-13T01:41:52", datetime(2026, 1, 13, 0, 41, 52, 0, UTC)),
        ("2026-07-13T01:41:52", datetime(2026, 7, 12, 23, 41, 52, 0, UTC)),
        ("2026-01-13", datetime(2026, 1, 12, 23, 0, 0, 0, UTC)),
        (1768268512, datetime(2026, 1, 13, 1, 41, 52, 0, UTC)),
        (1768268512.25, datetime(2026, 1, 13, 1, 41, 52, 250000, UTC)),
        (1768268512208, datetime(2026, 1, 13, 1, 41, 52, 208000, UTC)),
        (1768268512208123, datetime(2026, 1, 13, 1, 41, 52, 208123, UTC)),
        ("1768268512", datetime(2026, 1, 13, 1, 41, 52, 0, UTC)),
        ("1768268512208", datetime(2026, 1, 13, 1, 41, 52, 208000, UTC)),
        ("1768268512208123", datetime(2026, 1, 13, 1, 41, 52, 208123, UTC)),
        ("-1768268512", datetime(1913, 12, 19, 22, 18, 8, 0, UTC)),
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
        ("1768268512.25", datetime(2026, 1, 13, 1, 41, 52, 250000, UTC)),
        ("2026-01-13 01:41:52 UTC", datetime(2026, 1, 13, 1, 41, 52, 0, UTC)),
        ("2026-01-13 01:41:52.5 gmt", datetime(2026, 1, 13, 1, 41, 52, 500000, UTC)),
        ("2026-01-13t01:41:52z", datetime(2026, 1, 13, 1, 41, 52, 0, UTC)),
        # A leap second is the first one of the next minute, as in PostgreSQL.
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC)),
        ("2016-12-31 23:59:60.25 UTC", datetime(2017, 1, 1, 0, 0, 0, 250000, UTC)),
        ("2017-01-01T00:59:60+01:00", datetime(2017, 1, 1, tzinfo=UTC)),
        ("2017-01-01T00:59:60", datetime(2017, 1, 1, tzinfo=UTC)),
        ("9999-12-31T23:59:59.999999Z", datetime(9999, 12, 31, 23, 59, 59, 999999, UTC)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_time_is_read_in_any_usual_form_and_in_the_assumed_zone_if_it_names_none(written, moment):
    found = parse_time(written, BERLIN)
    assert found == moment
    assert found.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "written",
    [
        *("", "  ", "now", "2026-02-30T00:00:00Z", "2026-13-01", "12026-01-01T00:00:00Z", "1.5e9"),
        *("9999-12-31T23:59:59-00:01", "0001-01-01T00:00:00+00:01", "9" * 400, "-", "--123456789"),
        *("2026-01-13T10:00:61Z", "2026-01-13 10:00:00 EST", "UTC", " z", "1.5"),
        *(None, True, [], {}, 1e300, -1e300, 10**30, 10**400, 1e17),
    ],
)
def test_what_names_no_moment_or_one_that_no_calendar_holds_is_refused(written):
    with pytest.raises(Unreadable) as refused:
        parse_time(written, UTC)
    assert refused.value.code == "bad_time"
    assert len(str(refused.value)) < 200


def test_a_time_that_leaves_the_calendar_only_in_utc_is_refused():
    for written, zone in [
        ("0001-01-01T00:30:00", BERLIN),
        ("9999-12-31T23:30:00", timezone(-timedelta(hours=1))),
    ]:
        with pytest.raises(Unreadable):
            parse_time(written, zone)


@given(st.datetimes(timezones=st.just(UTC)))
def test_microseconds_since_2000_lose_nothing(moment):
    assert from_microseconds(microseconds(moment)) == moment


@given(st.datetimes(timezones=st.timezones() | st.just(UTC)))
def test_every_time_that_is_accepted_can_be_stored_and_read_again(moment):
    try:
        found = parse_time(moment.isoformat(), UTC)
    except Unreadable:
        with pytest.raises(OverflowError):
            moment.astimezone(UTC)
    else:
        assert from_microseconds(microseconds(found)) == moment.astimezone(UTC)
        assert orjson.loads(orjson.dumps(found))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"a": "b', "Not JSON: Unterminated string starting at character 6."),
        (b'{"a": "\t"}', "Not JSON: Invalid control character at character 7."),
        (b"{", "Not JSON: Expecting property name enclosed in double quotes at character 1."),
    ],
)
def test_what_is_no_json_says_where_in_one_sentence(line, said):
    with pytest.raises(Unreadable) as refused:
        strict_json(line)
    assert str(refused.value) == said


def test_a_byte_order_mark_where_files_were_joined_is_no_part_of_the_record():
    assert strict_json(b'\xef\xbb\xbf{"a": 1}') == ({"a": 1}, 0, 0)
    with pytest.raises(Unreadable):
        strict_json(b'\xef\xbb\xbf\xef\xbb\xbf{"a": 1}')

"""Sessions: each item of a list is an event; what is no list of ids is broken, with its text."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrl4rec.formats import ReadOptions, sessions
from mrl4rec.formats.reader import Interactions, read

Found = list[tuple[int, str, str]]


def taken(folder: Path, content: bytes, name: str = "s.jsonl") -> Interactions:
    path = folder / name
    path.write_bytes(content)
    return read(path, ReadOptions.parse(format="session-lists"))


def good(found: Interactions) -> Found:
    """The number, session (without the digest) and item of each event."""
    rows = found.rows.to_pylist()
    return [(r["record_no"], r["user_id"].split("-")[1], r["item_id"]) for r in rows]


def test_events_keep_order_repeats_and_spelling(tmp_path: Path) -> None:
    content = b'[1, 2, 1, 1]\r\n\n ["b c", "007", 7]\n[123456789012345678901234567890, "A\\u030a"]'
    found = taken(tmp_path, content)
    long = "123456789012345678901234567890"
    assert good(found) == [
        *((n, "0", item) for n, item in enumerate("1211")),
        *((n + 4, "2", item) for n, item in enumerate(["b c", "007", "7"])),
        (7, "3", long),
        (8, "3", "A\u030a"),
    ]
    assert found.rows["rating"].null_count == found.rows["reviewed_at"].null_count == 9


def test_sessions_are_named_by_the_bytes_of_their_file(tmp_path: Path) -> None:
    lines = b"[1]\n[2, 3]\n"
    one, same = (taken(tmp_path, lines, name).rows["user_id"].to_pylist() for name in "ab")
    assert one == same
    assert all(len(user.split("-")[0]) == 12 for user in one)
    others = {lines + b"\n", gzip.compress(lines)}
    assert not any(set(one) & set(taken(tmp_path, other).rows["user_id"].to_pylist())
                   for other in others)  # fmt: skip


@pytest.mark.parametrize(
    ("line", "rule", "text"),
    [
        (b"[7, [1, 2], 2, 1441940543]", "not_list", None),
        (b'[1, {"a": 2}]', "not_list", None),
        (b'{"a": [1]}', "not_list", None),
        (b"5", "not_list", None),
        (b"[1, 2", "not_json", None),
        (b"[" * 100_000, "not_json", "[" * 65_536),
        (b"[1" + b", 2" * 400_000 + b"]", "record_too_long", None),
        (b"[1, \xff]", "not_utf8", "[1, \ufffd]"),
        (b"[]", "no_item", None),
    ],
)
def test_a_line_that_is_no_list_of_items(
    tmp_path: Path, line: bytes, rule: str, text: str | None
) -> None:
    found = taken(tmp_path, b"[1]\n" + line + b"\n[2, 2]\n")
    assert good(found) == [(0, "0", "1"), (2, "2", "2"), (3, "2", "2")]
    (bad,) = found.quarantined.to_pylist()
    assert (bad["record_no"], bad["rule"]) == (1, rule)
    assert bad["record"] == (text or line.decode()[:65_536])
    assert bad["detail"]


@pytest.mark.parametrize(
    ("item", "rule"),
    [("true", "bad_id"), ("1.50", "bad_id"), ("NaN", "bad_id"), ('"a\\tb"', "bad_id"),
     ('"[x"', "bad_id"), ("null", "no_item"), ('" "', "no_item")],
)  # fmt: skip
def test_an_item_that_is_no_id(tmp_path: Path, item: str, rule: str) -> None:
    """The other items of the list stay."""
    found = taken(tmp_path, f'[1, {item}, "a, ]"]\n'.encode())
    assert good(found) == [(0, "0", "1"), (2, "0", "a, ]")]
    (bad,) = found.quarantined.to_pylist()
    assert (bad["record_no"], bad["rule"], bad["record"].strip('"')) == (1, rule, item.strip('"'))


@given(st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=5)), st.integers(1, 9))
def test_tables_of_any_length_hold_the_same_events(lists: list[list[int]], size: int) -> None:
    """However the text is cut into chunks."""
    text = "".join(f"{items}\n" for items in lists).encode()
    chunks = (text[at : at + size] for at in range(0, len(text), size))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sessions, "EVENTS", size)
        tables = list(sessions.events(chunks, "s"))
    found = [(first + row["record_no"], row["user"], row["item"])
             for first, table in tables for row in table.to_pylist()]  # fmt: skip
    events = [(f"s-{n}", str(item)) for n, items in enumerate(lists) for item in items]
    assert found == [(n, *event) for n, event in enumerate(events)]

"""Python literals spelled as JSON in place: which are, and which are left to the strict reading."""

from __future__ import annotations

import ast
import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrl4rec.formats.lines import line_blocks
from mrl4rec.formats.literals import HIDDEN, as_json

H = chr(HIDDEN)


def spelled(*lines: str) -> list[str]:
    (block,) = line_blocks(["".join(line + "\n" for line in lines).encode()])
    made = as_json(block)
    assert len(made) == len(block.data)
    return made.decode().splitlines()


@pytest.mark.parametrize(
    ("literal", "value"),
    [
        ("{'a': 'x', 'b': 5.0}", {"a": "x", "b": 5.0}),
        ('{"a": "x"}', {"a": "x"}),
        ("{'a': True, 'b': False, 'c': None}", {"a": True, "b": False, "c": None}),
        ("{'a': \"it's\", 'b': 'y'}", {"a": "it's", "b": "y"}),
        ("{'a': 'say \"hi\"', 'b': 'y'}", {"a": f"say {H}hi{H}", "b": "y"}),
        (r"{'a': 'it\'s \\ so\n', 'b': 'y'}", {"a": f"it{H}{H}s {H}{H} so{H}{H}", "b": "y"}),
        (r"{'a': '\\\'', 'b': '\\'}", {"a": H * 4, "b": H * 2}),
        (r"{'a': 'caf\xe9 \u2603'}", {"a": f"caf{H}{H}e9 {H}{H}2603"}),
        ("{u'a': u'x', 'b': 'you', u'c': [u'd']}", {"a": "x", "b": "you", "c": ["d"]}),
        ("{'a': {'b': ['c', \"d\"]}, 'é': 'ü'}", {"a": {"b": ["c", "d"]}, "é": "ü"}),
    ],
)
def test_a_literal_becomes_json(literal: str, value: object) -> None:
    assert json.loads(spelled(literal)[0]) == value


@pytest.mark.parametrize(
    "line",
    ["{'a': 'open}", "{'a': 'x\", 'b': 'y\"}", r"{'a': '\x4'}", r"{'a': '\u12'}",
     r"{'a': '\N{DASH}'}", r"{'a': '\U0001F600'}", "{'a': 'b' 'c'}", "{'a': b'x'}", "{'a': (1,)}",
     "{'a': 'x\\", "{1: 'x'}", "{'a': '''x'''}", "'", "\"", "\\"],
)  # fmt: skip
def test_a_line_that_is_no_plain_literal_becomes_no_json_and_harms_no_other(line: str) -> None:
    before, made, after = spelled("{'a': 'x'}", line, "{'b': 'y'}")
    with pytest.raises(ValueError):
        json.loads(made)
    assert (json.loads(before), json.loads(after)) == ({"a": "x"}, {"b": "y"})


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=9,
)


@settings(deadline=None)
@given(st.lists(st.dictionaries(st.text(max_size=3), VALUES, max_size=4), max_size=9))
def test_what_becomes_json_is_what_python_reads(records: list[dict[str, object]]) -> None:
    lines = [repr(record) for record in records]
    for line, made in zip(lines, spelled(*lines) if lines else [], strict=True):
        with suppress(ValueError):  # constants in lists stay as they are
            found = json.loads(made)
            assert H in made or ": " in str(found.values()) or found == ast.literal_eval(line)

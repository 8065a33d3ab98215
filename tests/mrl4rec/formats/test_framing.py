"""Records are the same however a text comes in chunks; what is broken takes no other with it."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrl4rec.core.errors import Mrl4recError
from mrl4rec.formats import MAX_RECORD, Mapping
from mrl4rec.formats import lines as lines_module
from mrl4rec.formats.framing import frame
from mrl4rec.formats.lines import MARK, author_pairs, cut_long_lines
from tests.mrl4rec.formats.readings import pieces

LINES = Mapping("json", "u", "i")
ARRAY = Mapping("json", "u", "i", container="array")
OBJECTS = Mapping("json", "u", "i", container="objects")
LISTS = Mapping("lists", "1", "2", integer_ids=True)


def wrapped(key: str) -> Mapping:
    return Mapping("json", "u", "i", container="array", records=key)


def table(width: int, separator: str = ",") -> Mapping:
    columns = tuple(map(str, range(1, width + 1)))
    return Mapping("csv", "1", "2", columns=columns, separator=separator, quoted=True)


def records(content: bytes, mapping: Mapping, size: int = 1 << 20) -> list[bytes]:
    """The records without their line ends; their numbers must be 0, 1, 2…"""
    found: list[bytes] = []
    for block in frame(pieces(content, size), mapping):
        assert block.first == len(found)
        starts = [0, *block.ends.tolist()]
        found += [block.data[a:b] for a, b in pairwise(starts)]
        assert starts[-1] == len(block.data)
    assert all(record.endswith(b"\n") for record in found)
    return [record[:-1] for record in found]


# ---------------------------------------------------------------------- lines


@given(st.lists(st.binary(max_size=40)), st.integers(1, 9), st.integers(10, 200))
@settings(deadline=None)
def test_lines_are_the_same_in_any_chunks_and_blocks(
    lines: list[bytes], size: int, block: int
) -> None:
    content = b"\n".join(lines)
    expected = content.removesuffix(b"\n").split(b"\n") if content else []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines_module, "BLOCK_BYTES", block)
        assert records(content, LINES, size) == expected


LONG = [b"a", b"x" * MAX_RECORD, b"y" * (MAX_RECORD + 1), b"", b"z" * (3 * MAX_RECORD + 5), b"b"]
CUT = [b"a", b"x" * MAX_RECORD, b"y" * MAX_RECORD + MARK + b"1048577", b"",
       b"z" * MAX_RECORD + MARK + b"3145733", b"b"]  # fmt: skip


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_of_a_line_too_long_its_beginning_and_its_length_are_kept(end: bytes) -> None:
    content = b"\n".join(LONG) + end
    for size in (1 << 20, (1 << 20) - 7):
        assert records(content, LINES, size) == CUT


@given(st.lists(st.binary(max_size=40)), st.lists(st.integers(1, 16), min_size=1))
@settings(deadline=None)
def test_lines_are_cut_the_same_however_they_come(lines: list[bytes], sizes: list[int]) -> None:
    content, chunks, at = b"\n".join(lines), [], 0
    while at < len(content):
        chunks.append(content[at : at + sizes[len(chunks) % len(sizes)]])
        at += len(chunks[-1])
    expected = [x if len(x) <= 16 else x[:16] + MARK + b"%d" % len(x) for x in content.split(b"\n")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines_module, "MAX_RECORD", 16)  # as many bytes as the longest chunk
        assert b"".join(cut_long_lines(chunks)) == b"\n".join(expected)


# ---------------------------------------------------------------------- CSV


def test_a_record_may_span_lines_where_its_quotes_do() -> None:
    rows = ["a,b,c", 'a,"two\nlines",c', 'a,"say ""x""\n\n""y""",c', 'a,"1\n2","3\n4"',
            '"\n","\n","\n"', "", "a,b,c"]  # fmt: skip
    content = "\n".join(rows).encode()
    for size in range(1, len(content) + 1):
        assert records(content, table(3), size) == [row.encode() for row in rows]


CELLS = st.text(st.sampled_from("ab\",;\n\r' é"), max_size=6)


@given(st.integers(2, 4), st.data(), st.sampled_from(",;\t|"), st.sampled_from(["\n", "\r\n"]))
@settings(max_examples=60, deadline=None)
def test_what_the_csv_module_writes_is_framed_as_it_reads_it(
    width: int, data: st.DataObject, separator: str, end: str
) -> None:
    rows = data.draw(st.lists(st.lists(CELLS, min_size=width, max_size=width), max_size=6))
    size = data.draw(st.integers(1, 30))
    out = io.StringIO()
    csv.writer(out, delimiter=separator, lineterminator=end, quoting=csv.QUOTE_ALL).writerows(rows)
    found = records(out.getvalue().encode(), table(width, separator), size)
    how: dict[str, Any] = {"delimiter": separator, "strict": True}
    assert [next(csv.reader(io.StringIO(x.decode(), newline=""), **how)) for x in found] == rows


@pytest.mark.fault("F14")
def test_a_quote_that_does_not_close_breaks_its_own_line_only() -> None:
    good = [f"u{n},i{n},x" for n in range(50)]
    lines = [*good, 'u,"open,x', *good, 'u,5" pipe,x', *good, 'u,"two', 'lines",x', 'u,i,"open']
    found = [record.decode() for record in records("\n".join(lines).encode(), table(3))]
    assert found == [*good, 'u,"open,x', *good, 'u,5" pipe,x', *good, 'u,"two\nlines",x',
                     'u,i,"open']  # fmt: skip


def test_a_quoted_line_that_is_cut_takes_no_other_with_it() -> None:
    long = b'u,"' + b"x" * MAX_RECORD + b'",x'
    found = records(long + b'\nv,"w",5" x\nv,w,x', table(3))
    assert found[0] == long[:MAX_RECORD] + MARK + b"%d" % len(long)
    assert found[1:] == [b'v,"w",5" x', b"v,w,x"]


def test_quotes_everywhere_cost_no_more_than_their_length() -> None:
    stray, apart = b'u,5" x,y\n' * 100_000, (b'u,"x,y\n' + b"a,b,c\n" * 5000) * 40
    for content in (stray, apart):
        began = time.process_time()
        assert b"\n".join(records(content, table(3))) + b"\n" == content
        assert time.process_time() - began < 10


# ---------------------------------------------------------------------- JSON

VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=8) | st.sampled_from(['"', "\\", "},{", "\n["]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
RECORDS = st.lists(st.dictionaries(st.text(max_size=4), VALUES, max_size=3), max_size=5)
STYLES = {"pretty": (",\n", 2), "line": (", ", None), "lines": (",\n", None), "none": ("", None),
          "blank": (" ", None), "break": ("\n", 1)}  # fmt: skip


def spell(records_: Sequence[object], style: str, ascii_only: bool = True) -> str:
    between, indent = STYLES[style]
    return between.join(json.dumps(r, indent=indent, ensure_ascii=ascii_only) for r in records_)


@given(
    RECORDS, st.sampled_from(sorted(STYLES)), st.booleans(), st.integers(1, 40), st.integers(0, 2)
)
@settings(max_examples=120, deadline=None)
def test_values_are_the_same_in_any_spelling_and_any_chunks(
    values: list[dict[str, object]], style: str, ascii_only: bool, size: int, container: int
) -> None:
    text = spell(values, style, ascii_only)
    if container:
        text = "[" + text + "]"
    mapping = (OBJECTS, ARRAY, wrapped("rows"))[container]
    if container == 2:
        text = json.dumps({"a": [{"rows": [1]}], "rows\n": []})[:-1] + ', "rows" :\n' + text
        text += ', "more": [1, {"x": 2}]}\n'
    found = records(text.encode("utf-8", "surrogatepass"), mapping, size)
    assert [json.loads(value.decode("utf-8", "surrogatepass")) for value in found] == values


@given(RECORDS, st.sampled_from(["pretty", "line", "lines"]), st.floats(0, 1), st.integers(1, 40))
@settings(max_examples=60, deadline=None)
@pytest.mark.fault("F14")
def test_an_array_cut_off_loses_only_its_last_record(
    values: list[dict[str, object]], style: str, share: float, size: int
) -> None:
    content = ("[" + spell(values, style) + "]").encode()
    cut = content[: int(len(content) * share)]
    found = records(cut, ARRAY, size)
    whole = found[:-1] if found and not parses(found[-1]) else found
    assert [json.loads(element) for element in whole] == values[: len(whole)]
    assert squeeze(b"".join(found)) == squeeze(cut.removesuffix(b"]") if cut == content else cut)


def parses(element: bytes) -> bool:
    try:
        return json.loads(element) is not None
    except ValueError:
        return False


def squeeze(text: bytes) -> bytes:
    """Without what stands between elements (and as much inside them)."""
    return b"".join(text.split()).replace(b",", b"").removeprefix(b"[")


BROKEN = b'{"a": "x, "b": [1, {"c": 2}, {"c": 3}]}'
WHOLE = [b'{"a": %d, "b": [{"c": 1}, {"c": 2}]}' % n for n in range(4)]


@pytest.mark.parametrize("between", [b",\n", b", ", b",", b"\n,", b" ", b"\n", b""])
@pytest.mark.parametrize("place", [1, 2, 4])
@pytest.mark.fault("F14")
def test_a_broken_element_takes_no_other_with_it(between: bytes, place: int) -> None:
    elements = [*WHOLE[:place], BROKEN, *WHOLE[place:]]
    content = b"[" + between.join(elements) + b"]"
    for size in (1, 7, 1 << 20):
        found = records(content, ARRAY, size)
        assert found[:place] == WHOLE[:place]
        assert found[place].startswith(BROKEN)
        assert found[place + 1 :] == WHOLE[place:]
    assert len(records(between.join(elements), OBJECTS)) == 5


def test_the_first_element_may_be_the_broken_one() -> None:
    assert records(b"[" + b",\n".join([BROKEN, *WHOLE]) + b"]", ARRAY) == [BROKEN + b",", *WHOLE]


def test_the_blanks_before_an_element_count_wherever_the_text_is_cut() -> None:
    content = b'[\n    {"a": "x,\n    {"b": 1}\n]'
    for size in range(1, len(content)):
        assert records(content, ARRAY, size) == [b'{"a": "x,', b'{"b": 1}'], size
    nested = b'[\n  {\n    "a": "x,\n    "b":\n      {\n      "c": 1}\n  },\n  {"a": 2}\n]'
    for size in range(1, len(nested)):
        first, *rest = records(nested, ARRAY, size)
        assert b'"c": 1}' in first
        assert rest == [b'{"a": 2}']


def test_a_value_too_long_is_bounded_and_the_next_is_found() -> None:
    endless = b'[{"a": "' + b"x" * (6 * MAX_RECORD) + b",\n" + b'{"b": 1},\n{"c": 2}]'
    first, *rest = records(endless, ARRAY)
    # 7 bytes before the x, 6 MiB of them, and the comma
    assert first == endless[1 : 1 + MAX_RECORD] + MARK + b"6291464"
    assert rest == [b'{"b": 1}', b'{"c": 2}']
    whole = b'{"a": "' + "é".encode() * MAX_RECORD + b'"}'
    first, *rest = records(b"[" + whole + b', {"b": 1}, {"c": 2}]', ARRAY)
    assert first == whole[:MAX_RECORD] + MARK + b"%d" % len(whole)
    assert rest == [b'{"b": 1}', b'{"c": 2}']


def test_what_stands_between_values_is_a_record_too() -> None:
    content = b'{"a": 1} nonsense {"a": 2}\n5, "x" null {"a": 3}'
    found = records(content, OBJECTS)
    assert [v for v in found if v.startswith(b"{")] == [b'{"a": %d}' % n for n in (1, 2, 3)]
    assert squeeze(b"".join(found)) == squeeze(content)


@pytest.mark.parametrize(
    "unit", [b'\n{"a":', b'\n{"a":[', b"\n{", b'{"a":1,\n', b'\n{"a": "x, "b": 1}', b'"', b"[",
             b',{"a":"x, "b":1}', b'"x', b"{", b"x,", b'\n  {"a": {"b":'],
)  # fmt: skip
def test_an_array_of_nothing_but_beginnings_is_read_or_refused_in_time(unit: bytes) -> None:
    content = b'[{"a": 1},' + unit * ((1 << 18) // len(unit))
    began = time.process_time()
    try:
        found = records(content, ARRAY)
    except Mrl4recError as error:
        said = str(error)
    else:
        said = ""
        assert b"".join(found).count(b"a") == content.count(b"a") or len(found[-1]) > MAX_RECORD
    assert not said or "broken in so many places" in said
    assert time.process_time() - began < 10


def test_many_broken_elements_are_told_apart() -> None:
    element = b'{"a": "' + b"x" * 300 + b'", "b": [1, 2}},\n'
    broken = b'{"a": "x, "b": [1]},\n'
    assert len(records(b"[" + (broken + element) * 3000 + b"]", ARRAY)) >= 6000


def test_an_object_without_the_key_is_refused() -> None:
    for content in (b'{"a": [{"b": [{"u": 1}]}]}', b'{"b": 5}', b"[]", b"", b'{"b": {"b": []}',
                    b'{"a": ' + b"[" * 5000, b'{"\\x": 1, "b": []}'):  # fmt: skip
        with pytest.raises(Mrl4recError, match="no array is found under 'b'"):
            records(content, wrapped("b"))


# ---------------------------------------------------------------------- lists


@given(st.lists(st.lists(st.integers(0, 9999), min_size=0, max_size=5)), st.integers(1, 9))
@settings(deadline=None)
def test_lists_become_pairs_in_the_order_of_the_file(users: list[list[int]], size: int) -> None:
    content = "\n".join(" ".join(map(str, [u, *items])) for u, items in enumerate(users)).encode()
    expected = [f"{u} {item}".encode() for u, items in enumerate(users) for item in items]
    assert records(content, LISTS, size) == expected


def test_a_list_of_one_user_does_not_multiply_its_name() -> None:
    content = b"u" * 300_000 + b" 1" * 300_000
    pairs = b"".join(author_pairs(pieces(content, 1 << 20))).split(b"\n")[:-1]
    assert pairs == ["uuuuuuuuuuuuuuuuuuuu… 1".encode()] * 300_000

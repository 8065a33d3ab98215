"""Records of the 2014 loose dumps: one Python dict literal a line, read without running it.

One by one by ``ast``, or a block at a time spelled as JSON, in place: no byte moves. What cannot be
spelled in its place is ``HIDDEN``: an escape, and a double quote between single ones. A line that
is no literal becomes no JSON.
"""

from __future__ import annotations

import ast
import re
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrl4rec.formats.lines import Block

NO_TEXT = "[…]"
"""What no field can be: the rules refuse it."""
MOST_BITS = 1024
"""Of a whole number that is spelled out; Python refuses to spell one of 4,300 digits."""
_WORDS = {"true": True, "false": False, "null": None}
_NUMBERS = ("nan", "inf", "infinity")

HIDDEN = 127
"""A character for what was there; a value that holds one has to be read from the literal."""
MOST_STRINGS = 10_000
"""Strings of a line that are followed."""
_SINGLE, _DOUBLE, _BREAK, _BACKSLASH = b"'\"\n\\"
_SPELLED = {b": True": b": true", b": False": b": false", b": None": b": null"}
_ODD_ESCAPE = re.compile(rb"\\(?:[UN\r\n]|x(?![0-9a-fA-F]{2})|u(?![0-9a-fA-F]{4}))")
"""What Python may refuse; also behind a backslash that is escaped itself, which is rare."""
Places = NDArray[np.int64]


class _JsonWords(ast.NodeTransformer):
    """JSON's words, and how tools print numbers that are none, as constants."""

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id in _WORDS:
            return ast.Constant(_WORDS[node.id])
        return ast.Constant(node.id) if node.id.lower() in _NUMBERS else node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        word = node.operand.id if isinstance(node.operand, ast.Name) else ""
        negative = isinstance(node.op, ast.USub) and word.lower() in _NUMBERS
        return ast.Constant("-" + word) if negative else node


def read_literal(text: str) -> dict[Any, Any] | None:
    """The dict that ``text`` spells, or None where it is not one literal dict.

    Of a key that comes twice the first counts, as in JSON. ``ast.literal_eval`` builds constants
    only, never calls anything; how long a text may be is the caller's business.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old dumps hold escapes that newer Pythons warn about
            node = ast.parse(text.strip(), mode="eval").body
        if not isinstance(node, ast.Dict):
            return None
        try:
            value = ast.literal_eval(node)
        except ValueError:
            value = ast.literal_eval(_JsonWords().visit(node))
        if len(value) < len(node.keys):
            pairs = zip(map(ast.literal_eval, node.keys), node.values, strict=True)  # type: ignore[arg-type]
            value = {k: ast.literal_eval(v) for k, v in reversed(list(pairs))}
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    return value


def literal_fields(text: str, names: tuple[str | None, ...]) -> list[str | None] | None:
    """The fields of a literal record at dotted paths, in order; None where it is no record."""
    record = read_literal(text)
    if record is None:
        return None
    return [None if name is None else _field_text(_at(record, name)) for name in names]


def _at(record: dict[Any, Any], path: str) -> Any:
    """What a dotted path leads to; None where it leads to nothing."""
    value: Any = record
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _field_text(value: Any) -> str | None:
    """A field as the JSON reader gives it: text as it is, numbers spelled out, None as None."""
    if isinstance(value, str):
        return _whole(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) or (isinstance(value, int) and value.bit_length() <= MOST_BITS):
        return repr(value)
    # No id, time or rating is a list, a dict or so long.
    return None if value is None else NO_TEXT


def _whole(text: str) -> str:
    """The text; old dumps spell a character beyond the first 65,536 as two halves."""
    try:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError:
        return NO_TEXT  # half a pair is no character


def as_json(block: Block) -> bytes:
    """The data of the block, each literal that is spelled plainly as JSON."""
    out = np.frombuffer(block.data, np.uint8).copy()
    broken = [match.start() for match in _ODD_ESCAPE.finditer(block.data)]
    _hide_escapes(out)
    marks = np.flatnonzero((out == _SINGLE) | (out == _DOUBLE) | (out == _BREAK))
    kind = out[marks]
    out[marks[kind == _DOUBLE]] = HIDDEN
    opened, closed, left = _strings(kind)
    out[marks[opened]] = out[marks[closed]] = _DOUBLE
    if b"{u'" in block.data or b'{u"' in block.data:
        prefix = marks[opened] - 1
        out[prefix[(out[prefix] == ord("u")) & _in(out[prefix - 1], b" {[(,:")]] = ord(" ")
    # Without its first character a line is no JSON.
    out[block.starts[np.searchsorted(block.ends, broken, side="right")]] = HIDDEN
    out[block.starts[left]] = HIDDEN
    data = out.tobytes()
    for word, spelled in _SPELLED.items():
        data = data.replace(word, spelled)
    return data


def _strings(kind: NDArray[np.uint8]) -> tuple[Places, Places, Places]:
    """Which marks open a string and which close it, and the lines where one stays open.

    A string ends at the next quote of its kind. All lines are followed side by side, a string at a
    time.
    """
    following = np.full(len(kind), len(kind))
    for quote in (_SINGLE, _DOUBLE):
        alike = np.flatnonzero(kind == quote)
        following[alike[:-1]] = alike[1:]
    last = np.flatnonzero(kind == _BREAK)
    lines, at = np.arange(len(last)), np.concatenate([[0], last[:-1] + 1])
    opened, closed, left = ([np.zeros(0, np.int64)] for _ in range(3))
    for _ in range(MOST_STRINGS):
        more = at < last
        lines, at, last = lines[more], at[more], last[more]
        if not len(at):
            break
        end = following[at]
        whole = end < last
        left.append(lines[~whole])
        opened.append(at[whole])
        closed.append(end[whole])
        lines, at, last = lines[whole], end[whole] + 1, last[whole]
    return np.concatenate(opened), np.concatenate(closed), np.concatenate([*left, lines])


def _hide_escapes(out: NDArray[np.uint8]) -> None:
    """Hide backslashes with what they escape, but for line breaks."""
    slashes = np.flatnonzero(out == _BACKSLASH)
    begins = np.flatnonzero(np.diff(slashes, prepend=-2) > 1)
    runs = np.repeat(slashes[begins], np.diff(begins, append=len(slashes)))
    heads = slashes[(slashes - runs) % 2 == 0]
    tails = heads + 1  # the last byte is a line break
    out[heads] = HIDDEN
    out[tails[out[tails] != _BREAK]] = HIDDEN


def _in(values: NDArray[np.uint8], wanted: bytes) -> NDArray[np.bool_]:
    table = np.zeros(256, np.bool_)
    table[list(wanted)] = True
    return table[values]

"""Records of the 2014 loose dumps: one Python dict literal a line, read without running it."""

from __future__ import annotations

import ast
import warnings
from typing import Any

NO_TEXT = "[…]"
"""What no field can be: the rules refuse it."""
MOST_BITS = 1024
"""Of a whole number that is spelled out; Python refuses to spell one of 4,300 digits."""
_WORDS = {"true": True, "false": False, "null": None}
_NUMBERS = ("nan", "inf", "infinity")


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

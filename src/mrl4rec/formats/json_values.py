"""JSON values that span lines, one after the other: cut apart by ``json``, whatever is broken."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from itertools import chain

from mrl4rec.core.errors import Mrl4recError
from mrl4rec.formats.lines import MAX_RECORD, cut

DEEPEST = 1000
"""Blanks before a JSON value that are told apart."""
RESCANS = 64
"""Times its own size that a broken JSON file may be looked at."""
_BETWEEN = re.compile(r"[\s,\[\]]*")
_NO_OBJECT = re.compile(r"[^\n,\]{]*")
_COLON = re.compile(r"\s*:?\s*")
_FIRST_KEY = re.compile(r'\{\s*("(?:[^"\\]|\\.){0,80}")|')


class JsonReader:
    """A window over the text that grows by chunks and drops what was read."""

    def __init__(self, chunks: Iterable[bytes], where: str | None) -> None:
        self._where = where
        self._chunks = chain(chunks, [b""])
        self._decode = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode
        self._text = ""
        self._at = 0
        self._credit = 8 << 20
        self._one_array = False
        self._first_key = ""
        # Numbers are not converted: only the ends of values matter here.
        self._parse = json.JSONDecoder(parse_int=len, parse_float=len).raw_decode

    def values(self, key: str | None) -> Iterator[bytes]:
        """The values, each on a line: one after the other, or elements of an array.

        With ``key`` those of the array that it names. A value that is broken so that its end
        cannot be told is given as it stands, up to what looks like the next one: a line that
        begins an object no deeper than it began, or an object with the first key of the last whole
        one (or its own). Raises Mrl4recError where so much is broken that records cannot be told
        apart in fair time, or the key is not found.
        """
        if key is not None:
            self._skip_to(key)
        while self._begin():
            end = self._end()
            # A value that ends with the window may go on behind it.
            while not 0 < end < len(self._text) and len(self._text) - self._at <= 4 * MAX_RECORD:
                if not self._fill():
                    break
                end = self._end()
            if end:
                self._first_key = self._key_here() or self._first_key
                value = self._taken(end)
                value = cut(value, len(value))
            else:
                value = self._broken()
            # JSON knows no raw line break inside a string, so the value stays the same.
            yield value.replace(b"\r", b" ").replace(b"\n", b" ") + b"\n"

    def _skip_to(self, key: str) -> None:
        """Move behind the ``[`` of the array that the outermost object has under the key.

        Raises Mrl4recError where it is not in the first 4 MiB.
        """
        while len(self._text) < 4 * MAX_RECORD and self._fill():
            pass
        try:
            self._at = self._array_under(key)
        except (ValueError, RecursionError):
            what = f"no array is found under {key!r} in the JSON object around the records"
            todo = "write the records one a line, or as one array"
            raise Mrl4recError(what, where=self._where, todo=todo) from None
        self._one_array = True

    def _array_under(self, key: str) -> int:
        at = self._text.index("{") + 1
        while True:
            name, at = self._parse(self._text, _end_of(_BETWEEN, self._text, at))
            at = _end_of(_COLON, self._text, at)
            if name == key and self._text[at : at + 1] == "[":
                return at + 1
            at = self._parse(self._text, at)[1]

    def _begin(self) -> bool:
        """Move to where the next value begins; False where there is none."""
        while True:
            begin = self._at
            self._at = _end_of(_BETWEEN, self._text, begin)
            if self._one_array and "]" in self._text[begin : self._at]:
                return False
            if self._at < len(self._text):
                return True
            if not self._fill():
                return False

    def _key_here(self) -> str:
        return _FIRST_KEY.match(self._text, self._at)[1] or ""  # type: ignore[index]

    def _end(self) -> int:
        """Where the value here ends; 0 where it is broken, or not all of it is in the window."""
        if self._text[self._at] != "{":
            return _end_of(_NO_OBJECT, self._text, self._at)
        try:
            return self._parse(self._text, self._at)[1]
        except json.JSONDecodeError as error:
            self._credit -= error.pos - self._at
        except RecursionError:
            self._credit -= min(len(self._text) - self._at, 1 << 17)
        if self._credit < 0:
            what = "the JSON is broken in so many places that its records cannot be told apart"
            todo = "mend it, or give the records one a line"
            raise Mrl4recError(what, where=self._where, todo=todo)
        return 0

    def _taken(self, end: int) -> bytes:
        value, self._at = self._text[self._at : end], end
        return value.encode("utf-8", "surrogateescape")

    def _broken(self) -> bytes:
        if self._at > 1 << 16:  # an error's message counts all lines before it
            self._forget()
        begin = self._text.rfind("\n", max(self._at - DEEPEST, 0), self._at) + 1
        fresh = re.compile(
            rf"\n[ \t]{{0,{min(self._at - begin, DEEPEST)}}}(?:,[ \t]*)?\{{"
            rf"|(?:(?<=\}})|,)[ \t]*,?[ \t]*\{{\s*{re.escape(self._first_key or self._key_here())}"
        )
        kept, size = b"", 0
        while (match := fresh.search(self._text, self._at + 1)) is None:
            part = self._taken(max(len(self._text) - 4096, self._at))
            kept, size = (kept + part)[: MAX_RECORD + 1], size + len(part)
            if not self._fill():
                break
        part = self._taken(match.start() if match else len(self._text))
        return cut((kept + part)[: MAX_RECORD + 1], size + len(part))

    def _forget(self) -> None:
        """Drop what was read, but for the blanks before a value, which tell how deep it is."""
        begin = max(self._at - DEEPEST, 0)
        keep = max(self._text.rfind("\n", begin, self._at), begin)
        self._text, self._at = self._text[keep:], self._at - keep

    def _fill(self) -> bool:
        chunk = next(self._chunks, None)
        if chunk is None:
            return False
        self._forget()
        self._text += self._decode(chunk, final=not chunk)
        self._credit += RESCANS * len(chunk)
        return True


def _end_of(pattern: re.Pattern[str], text: str, at: int) -> int:
    """Where a pattern that matches anything ends."""
    return pattern.match(text, at).end()  # type: ignore[union-attr]

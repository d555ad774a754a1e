"""The text form of templates: ``NAME = value`` and ``NAME = [ KEY = value, ... ]``.

Path:     text -> tokens -> attributes        (what they become: template.py)
Holds:    time and memory grow linearly with the text, whatever it holds.
Not here: the XML form (template_xml.py); upper case, trimming and refused values (template.py).
Source:   OpenNebula src/parsers/template_parser.l and template_syntax.y. Theirs is a longest-match scanner in two states (a name is
          next, or a value is); its corners are kept, because templates that people have depend on them.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from typing import Final

Value = str | dict[str, str]

# What can come where a name is expected. Order matters: of two that match, the one listed first is the longer.
_NAME, _EQUAL_EMPTY, _EQUAL, _COMMA, _CLOSE, _COMMENT, _BLANK = range(1, 8)
_OUTSIDE = re.compile(
    r"[ \t\n]*+([A-Za-z0-9_]++)|([ \t]*+=[ \t]*+\n)|([ \t]*+=[ \t]*+)|([ \t\n]*+,[ \t\n]*+)|([ \t\n]*+\][ \t\n]*+)"
    r"|([ \t]*+\#)|([ \t\n]++)"
)
_BARE = re.compile(r"[^=# \t\n,\[\]]++")
_OPENING = re.compile(r"[ \t]*+\[[ \t\n]*+")
_UNESCAPED_QUOTE = re.compile(r'(?<!\\)"')
_STRING, _OPEN, _CDATA_END, _END = range(8, 12)

_LABELS: Final = {
    _NAME: "VARIABLE",
    _EQUAL: "EQUAL",
    _EQUAL_EMPTY: "EQUAL_EMPTY",
    _COMMA: "COMMA",
    _OPEN: "OBRACKET",
    _CLOSE: "CBRACKET",
    _CDATA_END: "CCDATA",
    _STRING: "STRING",
    _END: "end of file",
}

_Token = tuple[int, str, int, int]  # what it is, its value, where it starts and ends


def read_text(text: str) -> Iterator[tuple[str, Value]]:
    """Yield the attributes of a template in the order of the text.

    Args:
        text: the template; it may be empty.

    Returns:
        Names as typed; vectors with keys in upper case, the first of equal keys kept.

    Raises:
        ValueError: OpenNebula's text, ``Parse error: syntax error, ... at line L, columns A:B``; or a key that begins with a
            digit, which OpenNebula takes and then writes as broken XML.
    """
    tokens = _tokens(text)
    for token in tokens:
        if token[0] == _END:
            return
        if token[0] != _NAME:
            raise _unexpected(text, token, _END)
        after = next(tokens)
        if after[0] == _EQUAL_EMPTY:
            yield token[1], ""
            continue
        if after[0] != _EQUAL:
            raise _unexpected(text, after, _EQUAL, _EQUAL_EMPTY)
        value = next(tokens)
        if value[0] == _STRING:
            yield token[1], value[1]
        elif value[0] == _OPEN:
            yield token[1], _vector(text, tokens)
        elif value[0] == _CDATA_END:
            raise ValueError("Parse error.")
        else:
            raise _unexpected(text, value, _OPEN, _CDATA_END, _STRING)


def _vector(text: str, tokens: Iterator[_Token]) -> dict[str, str]:
    vector: dict[str, str] = {}
    key = next(tokens)
    if key[0] == _CLOSE:
        return vector
    if key[0] != _NAME:
        raise _unexpected(text, key, _CLOSE, _NAME)
    while True:
        if (after := next(tokens))[0] != _EQUAL:
            raise _unexpected(text, after, _EQUAL)
        if (value := next(tokens))[0] != _STRING:
            raise _unexpected(text, value, _STRING)
        if key[1][0] in string.digits:
            raise ValueError(f"Parse error: the key {key[1][:64]!r} begins with a digit, which XML does not allow.")
        vector.setdefault(key[1].upper(), value[1])
        after = next(tokens)
        if after[0] == _CLOSE:
            return vector
        if after[0] != _COMMA:
            raise _unexpected(text, after, _COMMA, _CLOSE)
        if (key := next(tokens))[0] != _NAME:
            raise _unexpected(text, key, _NAME)


def _tokens(text: str) -> Iterator[_Token]:
    """All tokens; the last one, repeated for ever, is ``_END``, placed where the last thing read stands."""
    size = len(text)
    last_newline = text.rfind("\n")
    barrier = _Barrier(text) if "]]>" in text else None
    outside = _OUTSIDE.match
    start = end = 0
    while end < size:
        start = end
        found = outside(text, start)
        if found is None:
            end = start + 1  # no rule knows this character: skipped, as OpenNebula does
            continue
        what, end = found.lastindex or 0, found.end()
        if what == _NAME:
            start = found.start(1)
            yield _NAME, found[1], start, end
            continue
        if what == _BLANK:
            continue
        if what == _COMMENT:
            if end <= last_newline:
                end = text.index("\n", end) + 1
            else:
                start = end - 1  # without its newline it is no comment: '#' is a character that no rule knows
            continue
        yield what, "", start, end
        if what != _EQUAL:
            continue
        while end < size:
            start = end
            if barrier is not None and barrier.follows(start):
                value: _Token | None = (_CDATA_END, "", start, barrier.line_end)
            else:
                value = _value(text, start)
            if value is None:
                end = start + 1
                continue
            yield value
            end = value[3]
            break
    while True:
        yield _END, "", start, end


class _Barrier:
    """Where ``]]>`` stands: a value may not, and neither may what follows it on its line. It would end the CDATA section it is put in.

    Only asked with growing positions; each part of the text is looked at once.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = self._line_start = -1
        self.line_end = -1

    def follows(self, start: int) -> bool:
        """Whether ``]]>`` stands between ``start`` and the end of its line."""
        text = self._text
        if self._at < start:
            found = text.find("]]>", start)
            self._at = len(text) if found < 0 else found
            self._line_start = text.rfind("\n", start, self._at) + 1
            end = text.find("\n", self._at)
            self.line_end = len(text) if end < 0 else end
        return self._line_start <= start and self._at < len(text)


def _value(text: str, start: int) -> _Token | None:
    """The longest token that can stand here as a value, None if there is none."""
    first = text[start]
    if first in "[ \t":
        opening = _OPENING.match(text, start)
        return None if opening is None else (_OPEN, "", start, opening.end())
    bare = _BARE.match(text, start)
    if bare is None:
        return None
    value, end = bare[0], bare.end()
    if first == '"':
        closing = _closing_quote(text, start + 1)
        if closing + 1 >= end:
            end, value = closing + 1, text[start + 1 : closing]
    if "]]>" in value:  # a string of several lines
        return _CDATA_END, "", start, end
    return _STRING, value.replace('\\"', '"'), start, end


def _closing_quote(text: str, start: int) -> int:
    """Where the longest string that began before ``start`` has its closing quote; -1 if it is never closed."""
    closing = text.find('"', start)
    if closing > start and text[closing - 1] == "\\":
        found = _UNESCAPED_QUOTE.search(text, closing + 1)
        # A string that ends in a backslash runs on to the last quote that could close it.
        closing = text.rfind('"') if found is None else found.start()
    return closing


def _unexpected(text: str, token: _Token, *expected: int) -> ValueError:
    what, _, start, end = token
    line = text.count("\n", 0, end)
    first = 1 + len(text[:start].encode(errors="surrogatepass"))
    last = 1 + len(text[:end].encode(errors="surrogatepass"))
    wanted = " or ".join(_LABELS[one] for one in expected)
    return ValueError(f"Parse error: syntax error, unexpected {_LABELS[what]}, expecting {wanted} at line {line}, columns {first}:{last}")

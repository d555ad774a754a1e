"""Values that an engine could change, fold or refuse; all zones must hold them alike."""

from __future__ import annotations

from typing import Final

from koinon.statements.schema import INT32, INT64, MAX_BODY_BYTES

#: Names that are all different, and that one collation or another takes for the same.
NAMES: Final = (
    "bob", "Bob", "BOB", "bob ", "bob  ", " bob", "bób", "bo\u0301b", "b\u00f3b\u200b", "ß", "ss", "SS", "ﬁ", "fi", "😀", "😁", 
    "𝔘𝔫𝔦", "\u00c5", "\u212b", "A\u030a", "ı", "i", "I", "İ", "\u00a0", "日本", "日\u672c\ufe00", "%", "%s", "%%", "_", "?", "??", "x'00'",
    "null", "NULL", "0", "00", "1e3",
)  # fmt: skip

#: What bodies can hold: quotes, backslashes, marks of drivers, every kind of blank, the ends of planes.
TEXTS: Final = (
    "", "'", "''", "'''", '"', "\\", "\\\\", "\\'", "\\n", "\\0", "%", "%s", "%(a)s", "%%", "?", ":a", "$1", "@a", "`", ";", "--", "/* */",
    "#", " ", "trailing  ", "\t", "\n", "\r", "\r\n", "\n\n", "a\tb\nc\rd", "\u0085\u2028\u2029", "\u007f\u0080\u009f", "é", "e\u0301",
    "\ufb03", "\ud7ff\ue000\ufffd", "\U00010000\U0010ffff", "😀👩‍👩‍👧‍👦", "\u202eRTL", "ﷺ", "<![CDATA[ ]]>", "&amp;&#39;&lt;", "X'00'",
    "E'\\x00'",
    "0x00", "\\x00", "\\u0000", "{}", "[]", "''; DROP TABLE user_pool; --",
)  # fmt: skip

NUMBERS: Final = (*INT32, 0, -1, 1, 2**15, -(2**15) - 1, 2**16)
LONG_NUMBERS: Final = (*INT64, 0, -1, 2**31, -(2**31) - 1, 2**53 + 1, -(2**53) - 1)

#: Bodies at the limit: the longest that is stored, in the bytes that grow most on their way.
LARGE: Final = tuple((unit * (MAX_BODY_BYTES // len(unit.encode()))) for unit in ("x", "'", "\\", "😀", "\n"))

#: What XML 1.0 has no way to write.
FORBIDDEN: Final = ("\x00", "\x01", "\x0b", "\x1f", "\ud800", "\udfff", "\ufffe", "\uffff", "a\x00b")

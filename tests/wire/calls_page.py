"""The reference page of calls, made from the rows of wire/calls.

Path:     CALLS -> page() -> docs/reference/calls.md, by ``python -m tests.wire.calls_page``
Not here: how the calls compare to OpenNebula's (compatibility.py).
"""

from __future__ import annotations

import sys
from itertools import groupby
from typing import Final

from koinon.wire.calls import CALLS, THIS_ZONE, Call, Need, Param, Runs
from koinon.wire.parameters import Required

_RUNS: Final = {Runs.LOCAL: "here", Runs.MASTER: "on the master", Runs.HOME: "in the zone itself"}


_HEAD: Final = """\
# Calls

All {count} calls, as a zone answers them at `POST /RPC2`. A call takes a session (`user:secret`) and then what its table lists,
in this order; those that begin with `system.` take no session. Types are checked: a parameter that is missing or of another type
is refused with fault -501, more than a call takes is ignored, and only parameters with a default may be left out.

The reply of a call with a session is `[true, result, 0]`, or `[false, text, code, id, -1]` with the code as below and the id of
the object that caused it, -1 if none did.

| Code | Means |
|---|---|
| 256 | The session is not let in. |
| 512 | A right is missing; the text names it. |
| 1024 | There is no such object. |
| 2048 | The object's state, or the zone's, does not allow it. |
| 4096 | An argument has a wrong value. |
| 8192 | Anything else: a taken name, a malformed template, no master. |
| 16384 | The object could not be made. |

**Runs** says where: *here*, in the zone that was asked, with no need of any other; *on the master*, to which other zones redirect
the call, so that it fails without changing anything while no master answers; *in the zone itself* that the object is, which has
the master store the result. **Needs** are rights, all of them, as the rules of the zone that was asked give them.

<!-- Made by `python -m tests.wire.calls_page` from src/koinon/wire/calls; a test compares them. -->"""


def page() -> str:
    """The page, with a newline at its end."""
    ordered = sorted(CALLS.values(), key=lambda call: (_section(call), call.name))
    lines = [_HEAD.format(count=len(CALLS))]
    for section, calls in groupby(ordered, key=_section):
        lines += ["", f"## {section}"]
        for call in calls:
            lines += _lines(call)
    return "\n".join(lines) + "\n"


def _section(call: Call) -> str:
    prefix, noun, *_ = call.name.split(".")
    return noun.removesuffix("pool") if prefix == "one" else f"{prefix}.*"


def _lines(call: Call) -> list[str]:
    secret = " The result is a secret and is never logged." if call.secret_result else ""
    disabled = "" if call.when_disabled else " A disabled zone refuses it."
    lines = [
        "",
        f"### {call.name}",
        "",
        call.summary + secret + disabled,
        "",
        f"Returns {call.returns}. Runs {_RUNS[call.runs]}. Needs: {_needs(call)}.",
    ]
    if call.params:
        lines += ["", "| Parameter | Type | Default | |", "|---|---|---|---|"]
        lines += [f"| `{param.name}` | {param.type} | {_default(param)} | {_doc(param)} |" for param in call.params]
    return lines


def _needs(call: Call) -> str:
    if not call.authenticates:
        return "nothing, not even a session"
    words = [_need(need) for need in call.needs]
    if call.group_0_only:
        words.append("a session whose primary group is 0")
    if call.user_0_only:
        words.append("a session of user 0")
    return "; ".join(words) or "a session"


def _need(need: Need) -> str:
    right = f"{need.right.name} {need.kind.acl_name}"
    if need.filters:
        return f"{right} chooses what is listed and refuses nobody"
    if need.param == THIS_ZONE:
        return f"{right} of this zone"
    words = f"{right} of `{need.param}`" if need.param is not None else right if need.right.name == "CREATE" else f"{right} of all"
    if need.but_oneself:
        words += " (not for oneself)"
    if need.but_own_group:
        words += " (not for the caller's primary group)"
    return f"{words} ({need.condition})" if need.condition else words


def _default(param: Param) -> str:
    value = param.default
    if isinstance(value, Required):
        return ""
    shown = list(value) if isinstance(value, tuple) else value
    return f"`{shown!r}`" if not isinstance(shown, bool) else f"`{str(shown).lower()}`"


def _doc(param: Param) -> str:
    return param.doc.replace("|", "\\|") + (" Never logged." if param.secret else "")


if __name__ == "__main__":
    sys.stdout.write(page())

"""The shape of a row: what a call is called, takes, needs, where it runs and what it returns.

Not here: the functions that do the work (api/ binds them); the rows themselves (one module for each noun beside this one).
"""

from __future__ import annotations

from enum import Enum
from typing import Final, Literal, TypeAlias

import msgspec

from koinon.objects.acl import Right
from koinon.objects.kinds import Kind
from koinon.wire.parameters import Param

#: Stands in ``Need.param`` for the zone that answers. No parameter can be called so.
THIS_ZONE: Final = "(this zone)"

SESSION: Final = Param("session", "string", doc="User and secret, as `user:secret`.", secret=True)


class Runs(Enum):
    """Which zone does the work."""

    LOCAL = "the zone that was asked"
    MASTER = "the master; other zones redirect the call"
    HOME = "the zone that the object belongs to, which then has the master store the result"


class Need(msgspec.Struct, frozen=True):
    """One right that the caller must have; all the needs of a row must be met.

    Attributes:
        right: USE, MANAGE, ADMIN or CREATE.
        kind: of which kind of object.
        param: name of the parameter that says which object (its id, its name, or several ids); THIS_ZONE; None for the right to
            create, for all objects of the kind together, and for lists.
        filters: the right chooses what is listed and refuses nobody.
        but_own_group: not asked for the caller's own primary group.
        condition: when it is asked, in words; empty for always.
        but_oneself: not asked when the parameter ``user`` is the caller.
    """

    right: Right
    kind: Kind
    param: str | None = None
    filters: bool = False
    but_own_group: bool = False
    condition: str = ""
    but_oneself: bool = False


Returns: TypeAlias = Literal["string", "int", "boolean", "array<string>", "array<array<string>>"]


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One call.

    Attributes:
        name: on the wire.
        params: what it takes after the session.
        needs: rights, all of them.
        runs: where.
        writes: whether it may change anything.
        when_disabled: whether a disabled zone answers it.
        returns: type of what a success carries.
        secret_result: the result must never be logged or stored in the clear.
        authenticates: the first parameter is a session and the reply OpenNebula's array; else it has neither.
        group_0_only: the session's primary group must be 0, whatever rules say.
        user_0_only: only user 0 may.
        elsewhere: what those are told who ask one zone and name another first; empty if any may be named, or the call names none.
        summary: one sentence for the reference page and the help of the command line.
    """

    name: str
    params: tuple[Param, ...]
    needs: tuple[Need, ...]
    runs: Runs
    writes: bool
    when_disabled: bool
    returns: Returns
    secret_result: bool = False
    authenticates: bool = True
    group_0_only: bool = False
    user_0_only: bool = False
    elsewhere: str = ""
    summary: str

    @property
    def signature(self) -> tuple[Param, ...]:
        """What is sent, in order: the session, if there is one, and ``params``. It is what ``bind`` takes."""
        return SIGNATURES[self.name]

    @property
    def noun(self) -> str:
        """What it is about: the middle of its name."""
        return self.name.split(".")[1]

    @property
    def hidden(self) -> tuple[int, ...]:
        """Positions in ``signature`` that are never logged."""
        return tuple(position for position, param in enumerate(self.signature) if param.secret)


CALLS: dict[str, Call] = {}
"""Every call of the API by its name on the wire, filled by the modules beside this one."""

SIGNATURES: dict[str, tuple[Param, ...]] = {}


def call(
    name: str,
    params: tuple[Param, ...],
    needs: tuple[Need, ...],
    runs: Runs,
    returns: Returns,
    summary: str,
    *,
    writes: bool | None = None,
    when_disabled: bool | None = None,
    secret_result: bool = False,
    authenticates: bool = True,
    group_0_only: bool = False,
    user_0_only: bool = False,
    elsewhere: str = "",
) -> Call:
    """Put one row into CALLS.

    Args:
        name: on the wire.
        params: what it takes after the session.
        needs: rights, all of them.
        runs: where.
        returns: type of the result.
        summary: one sentence.
        writes: unless said, what does not run locally writes.
        when_disabled: unless said, a disabled zone answers what does not write.
        secret_result: the result is a secret.
        authenticates: unless said, a session goes first.
        group_0_only: only sessions whose primary group is 0 may.
        user_0_only: only user 0 may.
        elsewhere: what those are told who name another zone.

    Raises:
        ValueError: a row is wrong: the name is taken, an optional parameter stands before a required one, a need names no parameter.
    """
    writes = runs is not Runs.LOCAL if writes is None else writes
    row = Call(
        name=name,
        params=params,
        needs=needs,
        runs=runs,
        writes=writes,
        when_disabled=not writes if when_disabled is None else when_disabled,
        returns=returns,
        secret_result=secret_result,
        authenticates=authenticates,
        group_0_only=group_0_only,
        user_0_only=user_0_only,
        elsewhere=elsewhere,
        summary=summary,
    )
    optional = [param.optional for param in params]
    if name in CALLS:
        raise ValueError(f"two rows for {name}")
    if optional != sorted(optional):
        raise ValueError(f"{name}: only the last parameters may be left out")
    for need in needs:
        if need.param not in (None, THIS_ZONE, *(param.name for param in params)):
            raise ValueError(f"{name}: a need names the unknown parameter {need.param}")
    CALLS[name] = row
    SIGNATURES[name] = (SESSION, *params) if row.authenticates else params
    return row


def change(name: str, params: tuple[Param, ...], needs: tuple[Need, ...], runs: Runs, returns: Returns, summary: str) -> Call:
    """Put one row into CALLS that changes objects of the zone that was asked: those are LOCAL and write."""
    return call(name, params, needs, runs, returns, summary, writes=True)


def use(kind: Kind, param: str = "id") -> Need:
    """USE on the object that ``param`` names."""
    return Need(Right.USE, kind, param)


def manage(kind: Kind, param: str | None = "id") -> Need:
    """MANAGE on the object that ``param`` names; None for all of the kind."""
    return Need(Right.MANAGE, kind, param)


def admin(kind: Kind, param: str = "id") -> Need:
    """ADMIN on the object that ``param`` names."""
    return Need(Right.ADMIN, kind, param)


def create(kind: Kind) -> Need:
    """CREATE for the kind."""
    return Need(Right.CREATE, kind)


def lists(kind: Kind) -> Need:
    """A list of what the caller may USE."""
    return Need(Right.USE, kind, filters=True)


def object_id(doc: str) -> Param:
    """The parameter that says which object."""
    return Param("id", "int", doc=doc)


TEMPLATE: Final = Param("template", "string", doc="Template, as `KEY = value` lines or, if it begins with `<`, as XML.")
UPDATE_TYPE: Final = Param("update_type", "int", 0, doc="0 replaces the whole template, 1 merges into it.")
DECRYPT: Final = Param("decrypt", "boolean", False, doc="Show encrypted attributes in the clear; only administrators get them.")
ENABLE: Final = Param("enable", "boolean", doc="True enables, false disables.")

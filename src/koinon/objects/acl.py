"""An ACL rule: four numbers, and its text ``USER RESOURCES RIGHTS [ZONE]``.

Path:     text <-> Rule <-> the four numbers on the wire and in the table ``acl``
Not here: what a rule allows (policy/).
Source:   OpenNebula src/acl/AclRule.cc (bits, checks, texts), src/oca/ruby/opennebula/acl.rb (text to numbers).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import IntFlag
from typing import Final, Literal, TypeAlias

import msgspec

from koinon.objects.kinds import Kind

INDIVIDUAL: Final = 0x100000000  #: ``#``: one user, object or zone
GROUP: Final = 0x200000000  #: ``@``: the users, or the objects, of a group
ALL: Final = 0x400000000  #: ``*``
CLUSTER: Final = 0x800000000  #: ``%``: hosts, networks and datastores of a cluster

ID_MASK: Final = 0xFFFFFFFF
SELECTOR_MASK: Final = INDIVIDUAL | GROUP | ALL | CLUSTER
KIND_MASK: Final = 0xFFFFFFF000000000
MAX_ID: Final = 2**31 - 1

_SIGNS: Final = {INDIVIDUAL: "#", GROUP: "@", ALL: "*", CLUSTER: "%"}
_SELECTORS: Final = {sign: bit for bit, sign in _SIGNS.items()}

_KIND_NAMED: Final = {kind.acl_name: kind for kind in Kind if kind is not Kind.HOOK}
_PRINTED: Final = tuple(kind for kind in Kind if kind not in (Kind.ACL, Kind.HOOK))


class Right(IntFlag):
    """What a rule grants. Independent bits: MANAGE does not imply USE, ADMIN implies nothing."""

    USE = 1
    MANAGE = 2
    ADMIN = 4
    CREATE = 8


_RIGHT_NAMES: Final = {"USE": 1, "MANAGE": 2, "ADMIN": 4, "CREATE": 8}
Part: TypeAlias = Literal["user", "resource", "rights", "zone"]
PARTS: Final[tuple[Part, ...]] = ("user", "resource", "rights", "zone")

USE: Final = Right.USE
MANAGE: Final = Right.MANAGE
ADMIN: Final = Right.ADMIN
CREATE: Final = Right.CREATE
ALL_RIGHTS: Final = 0xF


def _bits(*kinds: Kind) -> int:
    return sum(kind.bit for kind in kinds)


_UNKNOWN_KINDS: Final = 0xFE80000000000000
_CLUSTERED: Final = _bits(Kind.HOST, Kind.NET, Kind.DATASTORE)
# BACKUPJOB has no cluster and yet is let through: OpenNebula's mask forgets it, and clients may hold such rules.
_NEVER_BY_CLUSTER: Final = sum(kind.bit for kind in Kind) & ~(_CLUSTERED | Kind.BACKUPJOB.bit | Kind.HOOK.bit)
_NEVER_BY_GROUP: Final = _bits(Kind.HOST, Kind.GROUP, Kind.CLUSTER, Kind.ZONE, Kind.VDC)
_SAME_IN_ALL_ZONES: Final = _bits(Kind.USER, Kind.GROUP, Kind.ZONE, Kind.ACL, Kind.VDC)


def user(uid: int) -> int:
    """The user field for one user."""
    return INDIVIDUAL | uid


def group(gid: int) -> int:
    """The user field for the members of a group."""
    return GROUP | gid


def everyone() -> int:
    """The user field for all users."""
    return ALL


def zone(zone_id: int) -> int:
    """The zone field for one zone."""
    return INDIVIDUAL | zone_id


def all_zones() -> int:
    """The zone field for the whole federation."""
    return ALL


def resource(kinds: Iterable[Kind], selector: int, oid: int = 0) -> int:
    """The resource field: these kinds, and which of their objects (INDIVIDUAL, GROUP, CLUSTER or ALL, and the number)."""
    field = selector | oid
    for kind in kinds:
        field |= kind.bit
    return field


class Rule(msgspec.Struct, frozen=True):
    """A rule as its four numbers. Any numbers can be held; ``problems`` says whether they make sense."""

    user: int
    resource: int
    rights: int
    zone: int

    @classmethod
    def parse(cls, text: str, default_zone: int) -> Rule:
        """Read a rule from text.

        Args:
            text: ``USER RESOURCES RIGHTS [ZONE]``, as in ``@5 VM+NET/@12 USE+MANAGE #0``; names in any case.
            default_zone: id of the zone that is meant when the text names none.

        Returns:
            The rule; ``problems`` has not been asked.

        Raises:
            ValueError: a part is missing or can't be read; the text names it and what is allowed.

        Source: OpenNebula src/oca/ruby/opennebula/acl.rb, ``parse_rule``.
        """
        parts = text.split()
        if len(parts) not in (3, 4):
            raise ValueError(f"a rule has the parts USER RESOURCES RIGHTS [ZONE], and {text!r} has {len(parts)}")
        return cls(
            user=parse_part("user", parts[0]),
            resource=parse_part("resource", parts[1]),
            rights=parse_part("rights", parts[2]),
            zone=parse_part("zone", parts[3]) if len(parts) == 4 else zone(default_zone),
        )

    @classmethod
    def from_hex(cls, user: str, resource: str, rights: str, zone: str) -> Rule:
        """Read a rule from the four hexadecimal numbers of the API.

        Raises:
            ValueError: not a hexadecimal number of at most 64 bits; the text names the field.
        """
        return cls(_hex(user, "user"), _hex(resource, "resource"), _hex(rights, "rights"), _hex(zone, "zone"))

    def text(self) -> str:
        """The rule as OpenNebula prints it in STRING; ``??`` stands for a missing selector."""
        user, _, rights, zone = self.parts()
        kinds = "+".join(kind.acl_name for kind in _PRINTED if self.resource & kind.bit)
        return f"{user} {kinds}/{_sign(self.resource, (GROUP, INDIVIDUAL, CLUSTER, ALL))} {rights} {zone}"

    def parts(self) -> tuple[str, str, str, str]:
        """The four parts as ``parse_part`` reads them; unlike ``text`` they name the kind ACL, which OpenNebula does not print."""
        kinds = "+".join(kind.acl_name for kind in Kind if self.resource & kind.bit)
        rights = "+".join(name for name, bit in _RIGHT_NAMES.items() if self.rights & bit)
        return (
            _sign(self.user, (GROUP, INDIVIDUAL, ALL)),
            f"{kinds}/{_sign(self.resource, (GROUP, INDIVIDUAL, CLUSTER, ALL))}",
            rights,
            _sign(self.zone, (INDIVIDUAL, ALL)),
        )


def parse_part(part: Part, text: str) -> int:
    """The number of one part of a rule: ``@5``, ``VM+NET/@12``, ``USE+MANAGE`` or ``#0``.

    Raises:
        ValueError: it can't be read; the text says what is allowed.
    """
    if part == "user":
        return _selected(text, "user", "#@*")
    if part == "rights":
        return _rights(text)
    if part == "zone":
        return _selected(text, "zone", "#*")
    kinds, slash, selected = text.partition("/")
    if not slash:
        raise ValueError(f"the resources {text!r} lack a '/', as in VM+NET/@12")
    return resource((_kind(name) for name in kinds.split("+")), _selected(selected, "resource", "#@%*"))


def problems(rule: Rule) -> list[str]:
    """Why OpenNebula would call ``rule`` malformed, in its words and order; empty for a good rule."""
    found = _field_problems("user", rule.user, {INDIVIDUAL: "INDIVIDUAL (#)", GROUP: "GROUP (@)", ALL: "ALL (*)"})
    found += _resource_problems(rule.resource)
    if rule.rights == 0:
        found.append("wrong [rights], it cannot be 0")
    elif not 0 < rule.rights <= ALL_RIGHTS:
        found.append("wrong [rights], it cannot be bigger than 0xF")
    if rule.zone & GROUP:
        found.append("[zone] GROUP (@) bit is not supported")
    found += _field_problems("zone", rule.zone & ~GROUP, {INDIVIDUAL: "INDIVIDUAL (#)", ALL: "ALL (*)"})
    kinds = rule.resource & KIND_MASK
    if rule.zone & ALL and rule.resource & INDIVIDUAL and kinds & ~_SAME_IN_ALL_ZONES:
        found.append("[resource] INDIVIDUAL(#) selector cannot be applied to ALL zones, except for USER, GROUP, ZONE, ACL and VDC types")
    return found


def _field_problems(name: str, value: int, labels: dict[int, str]) -> list[str]:
    found = []
    present = [bit for bit in labels if value & bit]
    for place, first in enumerate(present):
        found += [f"[{name}] {labels[first]} and {labels[second]} bits are exclusive" for second in present[place + 1 :]]
    if not present:
        choices = [label.split()[0] for label in labels.values()]
        found.append(f"[{name}] is missing one of the {', '.join(choices[:-1])} or {choices[-1]} bits")
    if value & ~(sum(labels) | ID_MASK):
        found.append(f"[{name}] has bits without a meaning")
    return found + _id_problems(name, value)


def _resource_problems(value: int) -> list[str]:
    found = []
    selectors = [bit for bit in _SIGNS if value & bit]
    kinds = value & KIND_MASK
    if len(selectors) > 1:
        found.append("[resource] INDIVIDUAL (#), GROUP (@), CLUSTER (%) and ALL (*) bits are exclusive")
    if value & CLUSTER and kinds & _NEVER_BY_CLUSTER:
        found.append("[resource] CLUSTER(%) selector can be applied only to DATASTORE, HOST and NET types")
    if value & GROUP and kinds & _NEVER_BY_GROUP:
        found.append("[resource] GROUP(@) selector cannot be applied to HOST, GROUP, CLUSTER, ZONE or VDC types")
    if not selectors:
        found.append("[resource] is missing one of the INDIVIDUAL, GROUP, CLUSTER or ALL bits")
    found += _id_problems("resource", value)
    if not kinds:
        found.append("[resource] type is missing")
    if value < 0 or kinds & _UNKNOWN_KINDS:
        found.append("wrong [resource] type")
    return found


def _id_problems(name: str, value: int) -> list[str]:
    found = []
    if value & ID_MASK > MAX_ID:
        found.append(f"[{name}] ID cannot be negative")
    if value & ALL and value & ID_MASK:
        found.append(f"when using the ALL bit, [{name}] ID must be 0")
    return found


def _sign(value: int, order: tuple[int, ...]) -> str:
    for bit in order:
        if value & bit:
            return "*" if bit == ALL else f"{_SIGNS[bit]}{value & ID_MASK}"
    return "??"


def _selected(text: str, what: str, allowed: str) -> int:
    if text == "*":
        return ALL
    sign, digits = text[:1], text[1:]
    if not sign or sign not in allowed or sign == "*" or not re.fullmatch("[0-9]{1,10}", digits) or int(digits) > MAX_ID:
        forms = " or ".join("*" if known == "*" else f"{known}ID" for known in allowed)
        raise ValueError(f"the {what} {text!r} is not {forms}")
    return _SELECTORS[sign] | int(digits)


def _kind(name: str) -> Kind:
    found = _KIND_NAMED.get(name.upper())
    if found is None:
        raise ValueError(f"there is no resource type {name!r}; there are {', '.join(_KIND_NAMED)}")
    return found


def _rights(text: str) -> int:
    rights = 0
    for name in text.split("+"):
        bit = _RIGHT_NAMES.get(name.upper())
        if bit is None:
            raise ValueError(f"there is no right {name!r}; there are {', '.join(_RIGHT_NAMES)}")
        rights |= bit
    return rights


def _hex(text: str, what: str) -> int:
    digits = text.strip().lower().removeprefix("0x")
    if not re.fullmatch("[0-9a-f]{1,32}", digits) or int(digits, 16) >= 2**63:
        raise ValueError(f"[{what}] {text[:40]!r} is not a hexadecimal number of at most 63 bits")
    return int(digits, 16)

"""The quotas of one user or group in one zone, or those that hold for all who have none: read, changed by a template, written back.

Path:     stored body -> Quotas -> set_limits() -> stored body; documents hold the same four elements
Holds:    a template changes all limits of the entries that it names and of no other; what is used stays; one bad entry, nothing changes.
          A limit that a template leaves out is the default one. Entries that limit nothing and count nothing are not kept.
Not here: where bodies are stored (quota_rows.py); who may set quotas (identity/local_limits.py).
Source:   OpenNebula src/um/Quota.cc, Quotas.cc, QuotaVirtualMachine.cc (effects, texts); share/doc/xsd/shared.xsd (order of the elements).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Final

import msgspec

from koinon.errors import InvalidChangeError
from koinon.objects import xml
from koinon.objects.template import Template

DEFAULT: Final = Decimal(-1)  #: what the zone's default quotas say
UNLIMITED: Final = Decimal(-2)
_ZERO: Final = Decimal(0)
_CENT: Final = Decimal("0.01")
_LIMIT: Final = re.compile(r"(-?[0-9]{1,15})(\.[0-9]{1,15})?", re.ASCII)
_ID: Final = re.compile(r"[0-9]{1,10}", re.ASCII)
_MAX_ID: Final = 2**31 - 1
_USED: Final = "_USED"

Key = tuple[int, ...]


class Section(msgspec.Struct, frozen=True):
    """One kind of quota.

    Attributes:
        name: the vector in a template, the element of an entry.
        key: the attribute that tells entries apart.
        metrics: what can be limited, in the order of the schema.
        fractional: those that may be set in hundredths.
    """

    name: str
    key: str
    metrics: tuple[str, ...]
    fractional: frozenset[str] = frozenset()

    @property
    def root(self) -> str:
        """The element that holds the entries."""
        return f"{self.name}_QUOTA"


VM: Final = Section(
    "VM",
    "CLUSTER_IDS",
    (
        "CPU", "MEMORY", "PCI_DEV", "PCI_NIC", "RUNNING_CPU", "RUNNING_MEMORY", "RUNNING_PCI_DEV", "RUNNING_PCI_NIC", "RUNNING_VMS",
        "SYSTEM_DISK_SIZE", "VMS",
    ),
    frozenset({"CPU", "RUNNING_CPU"}),
)  # fmt: skip
SECTIONS: Final = (
    Section("DATASTORE", "ID", ("IMAGES", "SIZE")),
    Section("NETWORK", "ID", ("LEASES",)),
    VM,
    Section("IMAGE", "ID", ("RVMS",)),
)
_BY_NAME: Final = {section.name: section for section in SECTIONS}


class Entry(msgspec.Struct):
    """Limits and use of one datastore, network or image, or of machines; by metric."""

    limits: dict[str, Decimal]
    used: dict[str, Decimal]


class Quotas(msgspec.Struct):
    """All quotas of one holder.

    Attributes:
        for_all: they are a zone's default quotas: limits of -1 would mean nothing there.
        entries: by section and key: (id,); for machines the clusters that the entry is limited to, () for all.
    """

    for_all: bool = False
    entries: dict[str, dict[Key, Entry]] = msgspec.field(default_factory=lambda: {section.name: {} for section in SECTIONS})

    @classmethod
    def from_body(cls, body: str, *, for_all: bool = False) -> Quotas:
        """Read a stored body.

        Raises:
            ValueError: it is none.
        """
        root = xml.parse(body)
        quotas = cls(for_all=for_all)
        for section in SECTIONS:
            for holder in root.findall(section.root):
                for node in holder.findall(section.name):
                    limits = {metric: Decimal(xml.text_of(node, metric, "-1")) for metric in section.metrics}
                    used = {metric: Decimal(xml.text_of(node, metric + _USED, "0")) for metric in section.metrics}
                    key = _key(section, xml.text_of(node, section.key))
                    if key is None:
                        raise ValueError(f"an entry of {section.root} has no {section.key}")
                    quotas.entries[section.name][key] = Entry(limits, used)
        return quotas

    @property
    def is_empty(self) -> bool:
        """Whether nothing is limited or counted."""
        return not any(self.entries.values())

    def to_xml(self) -> str:
        """The four elements, as stored and as shown."""
        return "".join(_section_xml(section, self.entries[section.name]) for section in SECTIONS)

    def set_limits(self, text: str, *, clusters: Collection[int]) -> None:
        """Change limits as a template says.

        Args:
            text: vectors DATASTORE, NETWORK, VM and IMAGE.
            clusters: ids of the zone's clusters.

        Raises:
            InvalidChangeError: it can't be parsed, names what is no quota or no cluster, or holds a bad limit. Nothing was changed.
        """
        try:
            template = Template.parse(text)
        except ValueError as error:
            raise InvalidChangeError(str(error)) from error
        changed = {name: dict(entries) for name, entries in self.entries.items()}
        for name, value in template.items():
            section = _BY_NAME.get(name)
            if section is None or isinstance(value, str):
                known = ", ".join(f"{section.name} = [ ... ]" for section in SECTIONS)
                raise InvalidChangeError(f"{name[:64]} is no quota. Quotas are {known}.")
            key = _key(section, value.get(section.key, ""))
            limits = self._limits(section, value)
            if key is None or limits is None:
                shown = ",".join(f"{name}={value[name]}" for name in sorted(value))
                raise InvalidChangeError(f"Negative limits or bad format in quota {section.name} = [ {shown} ]")
            entries = changed[section.name]
            entry = entries.get(key)
            if entry is None:
                self._require_clusters(section, key, entries, clusters)
            entries[key] = Entry(limits, dict.fromkeys(section.metrics, _ZERO) if entry is None else entry.used)
            if all(limit == self._implicit for limit in limits.values()) and not any(entries[key].used.values()):
                del entries[key]
        self.entries = changed

    @property
    def _implicit(self) -> Decimal:
        return UNLIMITED if self.for_all else DEFAULT

    def _limits(self, section: Section, vector: Mapping[str, str]) -> dict[str, Decimal] | None:
        """The limits of a vector; None if one is bad."""
        known = {section.key, *section.metrics, *(metric + _USED for metric in section.metrics)}
        for name in sorted(vector):
            if name not in known:
                raise InvalidChangeError(
                    f"{name[:64]} is nothing that a {section.name} quota limits. It limits {', '.join(section.metrics)}."
                )
        limits = {}
        for metric in section.metrics:
            text = vector.get(metric, "")
            limit = _number(text, fractional=metric in section.fractional) if text else self._implicit
            if limit is None or (limit < 0 and limit != UNLIMITED and (self.for_all or limit != DEFAULT)):
                return None
            limits[metric] = limit
        return limits

    def _require_clusters(self, section: Section, key: Key, entries: Mapping[Key, Entry], clusters: Collection[int]) -> None:
        """A new entry for clusters: they exist, and no other entry is for one of them."""
        if section is not VM or not key:
            return
        if self.for_all:
            raise InvalidChangeError("CLUSTER_IDS limits quotas of a user or a group; default quotas hold in all clusters.")
        for cluster in key:
            if cluster not in clusters:
                raise InvalidChangeError(f"Cluster {cluster} does not exist")
            if any(cluster in other for other in entries):
                raise InvalidChangeError(f"Quota for cluster id {cluster} already exists")


def _section_xml(section: Section, entries: Mapping[Key, Entry]) -> str:
    shown = "".join(_entry_xml(section, key, entries[key]) for key in sorted(entries))
    return f"<{section.root}>{shown}</{section.root}>"


def _entry_xml(section: Section, key: Key, entry: Entry) -> str:
    head = f"<{section.key}>{','.join(map(str, key))}</{section.key}>" if key else ""
    metrics = "".join(
        f"<{metric}>{_shown(entry.limits[metric])}</{metric}><{metric}{_USED}>{_shown(entry.used[metric])}</{metric}{_USED}>"
        for metric in section.metrics
    )
    return f"<{section.name}>{head}{metrics}</{section.name}>"


def _key(section: Section, text: str) -> Key | None:
    """What tells an entry apart; None if the text can't."""
    if section is VM and not text:
        return ()
    parts = [part.strip() for part in text.split(",")] if section is VM else [text]
    if not all(_ID.fullmatch(part) and int(part) <= _MAX_ID for part in parts):
        return None
    return tuple(sorted({int(part) for part in parts}))


def _number(text: str, *, fractional: bool) -> Decimal | None:
    """A limit; None if it is no number, or a fraction of what can't be parted."""
    if _LIMIT.fullmatch(text) is None:
        return None
    exact = Decimal(text)
    if exact == exact.to_integral_value():
        return exact
    return exact.quantize(_CENT) if fractional else None


def _shown(number: Decimal) -> str:
    return str(int(number)) if number == number.to_integral_value() else f"{number:.2f}"

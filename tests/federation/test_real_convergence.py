"""Whatever is called wherever, all zones show the same afterwards: random sequences of calls to random zones of a real federation.

Holds:    what is shared is compared as documents, byte for byte, as an administrator and as a plain user whose rules name no zone;
          what is a zone's own (documents) shows in that zone and in no other. Each zone gets its calls from a thread of its own.
Not here: what each call does (test_real_calls.py); killed zones (test_real_kills.py).
"""

from __future__ import annotations

import itertools
import re
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from harness.replies import Caller
from harness.zones import PATIENCE_S, Federation, federation

pytestmark = pytest.mark.engines

SHARED: Final = ("one.userpool.info", "one.grouppool.info", "one.acl.info", "one.vdcpool.info", "one.zonepool.info")
DOCUMENT_TYPE: Final = 200
#: What a call may fail with here: no right, no such object, its state, a wrong value, a taken name.
CODES: Final = {0x200, 0x400, 0x800, 0x1000, 0x2000, 0x4000}

_rounds = itertools.count(1)


class Made:
    """Ids of the objects that earlier calls made, by kind; what was deleted stays, so that calls meet what is gone."""

    def __init__(self) -> None:
        self.ids: defaultdict[str, list[int]] = defaultdict(list)
        self.lock = threading.Lock()

    def pick(self, kind: str, which: int, otherwise: int) -> int:
        with self.lock:
            known = self.ids[kind]
            return known[which % len(known)] if known else otherwise

    def add(self, kind: str, oid: int) -> None:
        with self.lock:
            self.ids[kind].append(oid)


class Step(msgspec.Struct, frozen=True):
    """One call: where it goes, what it is, which of the known objects it is about, and the text it carries."""

    zone: int
    what: str
    one: int
    other: int
    text: str


USER, GROUP, VDC, ZONE, RULE = "user", "group", "vdc", "zone", "rule"
#: What a step calls: kinds stand for ids of known objects, other words for what Caller sends below.
CALLS: Final[dict[str, tuple[Any, ...]]] = {
    "one.user.allocate": ("name", "Secret1", "public", "groups"),
    "one.user.delete": (USER,),
    "one.user.update": (USER, "template", "type"),
    "one.user.enable": (USER, "truth"),
    "one.user.chgrp": (USER, GROUP),
    "one.user.addgroup": (USER, GROUP),
    "one.user.delgroup": (USER, GROUP),
    "one.group.allocate": ("name",),
    "one.group.delete": (GROUP,),
    "one.group.update": (GROUP, "template", "type"),
    "one.group.addadmin": (GROUP, USER),
    "one.group.deladmin": (GROUP, USER),
    "one.acl.addrule": ("who", "resource", "rights", "everywhere"),
    "one.acl.delrule": (RULE,),
    "one.vdc.allocate": ("template with a name",),
    "one.vdc.delete": (VDC,),
    "one.vdc.update": (VDC, "template", "type"),
    "one.vdc.rename": (VDC, "name"),
    "one.vdc.addgroup": (VDC, GROUP),
    "one.vdc.delgroup": (VDC, GROUP),
    "one.vdc.addhost": (VDC, "zone 0", "all"),
    "one.vdc.delhost": (VDC, "zone 0", "all"),
    "one.zone.allocate": ("template with a name",),
    "one.zone.delete": (ZONE,),
    "one.zone.update": (ZONE, "template", "merged"),
    "one.zone.rename": (ZONE, "name"),
    "one.document.allocate": ("template with a name", DOCUMENT_TYPE),
}
MAKES: Final = {f"one.{kind}.allocate": kind for kind in (USER, GROUP, VDC, ZONE)} | {"one.acl.addrule": RULE}

STEPS: Final = st.lists(
    st.builds(
        Step,
        zone=st.integers(0, 1),
        what=st.sampled_from([*MAKES, *CALLS]),  # what makes objects twice as often
        one=st.integers(0, 30),
        other=st.integers(0, 30),
        text=st.sampled_from(["a", "b", "é", "日本", "😀", "o'neil", "<&> ]]", "x" * 200]),
    ),
    min_size=10,
    max_size=60,
)


def arguments(step: Step, made: Made, prefix: str) -> list[Any]:
    """What the step sends, as far as objects are known now."""
    name = f"{prefix}-{step.one}"
    words = {
        "name": name,
        "groups": [made.pick(GROUP, step.other, 1)],
        "template": f'NOTE{step.other % 3}="{step.text}"',
        "template with a name": f'NAME="{name}" ENDPOINT="http://x:2633/RPC2" NOTE="{step.text}"',
        "type": step.other % 2,
        "merged": 1,
        "truth": bool(step.other % 2),
        "who": f"{0x100000000 + made.pick(USER, step.one, 5):x}",
        "resource": f"{0x10000000000 + 0x400000000:x}" if step.other % 2 else f"{0x10000000000 + 0x100000000 + step.other:x}",
        "rights": "1",
        "everywhere": "400000000",
        "zone 0": 0,
        "all": -10,
    }
    sent: list[Any] = []
    for index, word in enumerate(CALLS[step.what]):
        if word in (USER, GROUP, VDC, ZONE, RULE):
            sent.append(made.pick(word, step.other if index else step.one, 99_999))
        else:
            sent.append(words.get(word, word))
    return sent


class Ground:
    """Two zones, a plain user who may see shared objects in every zone, and what the examples have made so far."""

    def __init__(self, zones: Federation) -> None:
        self.zones = zones
        self.admins = [zones.caller(zone) for zone in zones.zones]
        uid = self.admins[0].value("one.user.allocate", "reader", "Secret1", "core")
        for resource in ("USER", "VDC", "GROUP"):
            zones.slaves[0].command("oneacl", "create", f"#{uid} {resource}/* USE *", session=zones.secret)
        self.readers = [zone.caller("reader:Secret1") for zone in zones.zones]
        self.documents: list[set[int]] = [set(), set()]
        self.done: Counter[tuple[str, int]] = Counter()

    def play(self, steps: Sequence[Step], *, together: bool) -> None:
        """Make the calls, zone after zone as they come, or those of both zones at once."""
        made, prefix = Made(), f"r{next(_rounds)}"
        if not together:
            for step in steps:
                self._call(step, made, prefix)
            return
        failures: list[BaseException] = []

        def part(zone: int) -> None:
            try:
                for step in steps:
                    if step.zone == zone:
                        self._call(step, made, prefix)
            except BaseException as failure:
                failures.append(failure)

        threads = [threading.Thread(target=part, args=(zone,)) for zone in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
        assert not failures, failures
        assert not any(thread.is_alive() for thread in threads)

    def _call(self, step: Step, made: Made, prefix: str) -> None:
        reply = self.admins[step.zone].call(step.what, *arguments(step, made, prefix))
        if reply[0]:
            self.done[step.what, step.zone] += 1
        if not reply[0]:
            assert reply[2] in CODES, reply
            assert not re.search("Unexpected|Outcome unknown|Could not connect", reply[1]), reply
        elif step.what in MAKES:
            made.add(MAKES[step.what], reply[1])
        elif step.what == "one.document.allocate":
            self.documents[step.zone].add(reply[1])

    def agree(self) -> None:
        """Fail unless both zones show the same of what is shared, and each its own documents."""
        self.zones.settled()
        for method in SHARED:
            master, slave = (admin.value(method) for admin in self.admins)
            assert master == slave, method
            if method != "one.acl.info":
                master, slave = (reader.value(method) for reader in self.readers)
                assert master == slave, f"{method} as a plain user"
        for admin, documents in zip(self.admins, self.documents, strict=True):
            assert _ids(admin, "one.documentpool.info", -2, -1, -1, DOCUMENT_TYPE) == documents


def _ids(caller: Caller, method: str, *sent: Any) -> set[int]:
    return {int(oid) for oid in re.findall(r"<DOCUMENT><ID>(\d+)</ID>", caller.value(method, *sent))}


#: Each call once at least, such that it succeeds: name, and which of the objects made before.
FITTING: Final = (
    *((what, one, 0) for what in MAKES for one in (0, 1)),
    ("one.acl.addrule", 2, 1),
    ("one.acl.delrule", 0, 0),
    ("one.user.update", 0, 1),
    ("one.user.enable", 0, 0),
    ("one.user.addgroup", 0, 1),
    ("one.group.addadmin", 1, 0),
    ("one.group.deladmin", 1, 0),
    ("one.user.delgroup", 0, 1),
    ("one.user.chgrp", 0, 1),
    ("one.group.update", 0, 0),
    ("one.vdc.addgroup", 0, 0),
    ("one.vdc.addhost", 0, 0),
    ("one.vdc.update", 0, 1),
    ("one.vdc.rename", 0, 7),
    ("one.vdc.delhost", 0, 0),
    ("one.vdc.delgroup", 0, 0),
    ("one.vdc.delete", 1, 0),
    ("one.user.delete", 1, 0),
    ("one.group.delete", 0, 0),
    ("one.zone.update", 0, 0),
    ("one.zone.rename", 0, 7),
    ("one.zone.delete", 1, 0),
    ("one.document.allocate", 0, 0),
)


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory, engine: str) -> Iterator[Ground]:
    with federation(tmp_path_factory.mktemp("convergence"), 2) as made:
        yield Ground(made)


@given(steps=STEPS, together=st.booleans())
@settings(
    max_examples=60,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # the federation keeps what examples made, so a smaller one tells little
)
def test_all_zones_show_the_same_after_any_calls_to_any_of_them(ground: Ground, steps: list[Step], together: bool) -> None:
    ground.play(steps, together=together)
    ground.agree()


def test_each_call_of_the_sequences_succeeds_somewhere_and_shows(ground: Ground) -> None:
    """Or they would prove nothing. In this order each call finds what it needs, asked of either zone."""
    for zone in (0, 1):
        before = [admin.value("one.acl.info") for admin in ground.admins]
        ground.done.clear()
        ground.play([Step(zone, what, one, other, "<&> 日本") for what, one, other in FITTING], together=False)
        ground.agree()
        assert {what for what, _ in ground.done} == set(CALLS)
        after = [admin.value("one.acl.info") for admin in ground.admins]
        assert before[0] == before[1] != after[0] == after[1]
    assert all(reader.value("one.userpool.info").count("<USER>") >= 3 for reader in ground.readers)

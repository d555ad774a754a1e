"""Who may do what: every call of the table against every kind of caller, with no cell left out.

What is expected comes from a row's ``needs`` and the small model of access below, never from koinon.policy: a row that promises another
right than its function asks for fails here, and so does a decision that differs from ACL rules as OpenNebula documents them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from lxml import etree

from koinon.database.transactions import SharedTx
from koinon.identity import zones
from koinon.objects.kinds import Kind
from koinon.wire.calls import CALLS, THIS_ZONE, Call, Need
from tests.api.desk import ACTION, AUTHENTICATION, AUTHORIZATION, INTERNAL, NO_EXISTS, ONEADMIN, SECRET, Desk, session

ZONE: Final = 0  #: the zone that answers
ELSEWHERE: Final = 100  #: a zone that is not asked
DOCUMENT_TYPE: Final = 200
UNLESS_ADMIN_BITS: Final = "when an ADMIN bit changes"
#: Calls that need a right on something of the zone that answers.
OF_THIS_ZONE: Final = (
    *(row.name for row in CALLS.values() if row.elsewhere),
    "one.vdc.addcluster",
    "one.vdc.delcluster",
    "one.vdc.addhost",
    "one.vdc.delhost",
)
RIGHTS: Final = ("USE", "MANAGE", "ADMIN", "CREATE")
NOT_KEPT: Final = 3  #: id of a datastore and of a network, which zones have none of
#: Calls about what can't exist (yet): code and text for those who may make them, with the id of the cluster.
REFUSED_TO_ALL: Final[dict[str, tuple[int, str]]] = {
    "one.cluster.adddatastore": (NO_EXISTS, f"Error getting datastore [{NOT_KEPT}]."),
    "one.cluster.deldatastore": (NO_EXISTS, f"Error getting datastore [{NOT_KEPT}]."),
    "one.cluster.addvnet": (NO_EXISTS, f"Error getting virtual network [{NOT_KEPT}]."),
    "one.cluster.delvnet": (NO_EXISTS, f"Error getting virtual network [{NOT_KEPT}]."),
    "one.cluster.optimize": (INTERNAL, "Can't find plan for existing cluster."),
    "one.cluster.planexecute": (ACTION, "Plan is not ready"),
    "one.cluster.plandelete": (ACTION, "Plan for cluster {cluster} does not exist"),
    "one.system.sql": (ACTION, "SQL that writes is not taken: it would pass by all checks. Use the call that makes the change."),
}
#: Those of them that ask for no right: that something does not exist is said first.
BEFORE_RIGHTS: Final = frozenset(name for name, (code, _) in REFUSED_TO_ALL.items() if code == NO_EXISTS)

_numbers = itertools.count(1)


# --- the model


class Grant(msgspec.Struct, frozen=True):
    """What one rule allows its user: ``which`` is ``*``, ``#ID`` or ``@ID``."""

    rights: frozenset[str]
    kind: str
    which: str


class Thing(msgspec.Struct, frozen=True):
    """An object that a call is about; id -1 stands for one to be made and for the whole pool."""

    kind: str
    oid: int
    gid: int = -1


class Actor(msgspec.Struct):
    """Who asks, as the session says it is."""

    uid: int
    gid: int
    groups: set[int]
    session: str
    grants: list[Grant]
    let_in: bool = True


def may(actor: Actor, right: str, thing: Thing) -> bool:
    """The rules of access, as far as users, groups, zones and rules need them."""
    if actor.uid == 0 or 0 in actor.groups:
        return True
    if thing.kind == "USER" and thing.oid == actor.uid and right in ("USE", "MANAGE"):
        return True  # users own themselves
    if thing.kind == "GROUP" and thing.oid in actor.groups and right == "USE":
        return True  # members see their group
    names = {"*"} | ({f"#{thing.oid}"} if thing.oid >= 0 else set()) | ({f"@{thing.gid}"} if thing.gid >= 0 else set())
    return any(grant.kind == thing.kind and right in grant.rights and grant.which in names for grant in actor.grants)


# --- the scene of one cell


class Scene:
    """Fresh objects for one call: what it is about, apart from who asks.

    Attributes:
        user: id of the user that the call names.
        user_gid: that user's primary group.
        group: id of the group that the call names.
        zone: id of the zone that the call names.
        vdc: id of the VDC that the call names.
        cluster, host, document: ids of oneadmin's objects that the call names, made for such calls only. The host is in the cluster.
    """

    def __init__(self, desk: Desk, call: Call) -> None:
        self.desk = desk
        self.call = call
        self.number = next(_numbers)
        self.group = desk.site.add_group(f"group{self.number}")
        self.user_gid = self.group if call.name in ("one.group.addadmin", "one.group.deladmin") else 1
        self.user = desk.user(self.name("target"), self.user_gid)
        self.zone = ZONE if call.name in OF_THIS_ZONE else ELSEWHERE
        if call.name == "one.zone.delete":
            self.zone = desk.as_admin("one.zone.allocate", f'NAME="{self.name("gone")}" ENDPOINT="http://x:2633/RPC2"')
        self.vdc = desk.as_admin("one.vdc.allocate", f'NAME="{self.name("vdc")}"') if call.name.startswith("one.vdc.") else 0

        kinds = {need.kind for need in call.needs}
        self.cluster = self.host = self.document = -1
        if kinds & {Kind.CLUSTER, Kind.HOST}:
            self.cluster = desk.as_admin("one.cluster.allocate", self.name("cluster"))
            self.host = desk.as_admin("one.host.allocate", self.name("host"), "kvm", "kvm", self.cluster)
        if Kind.DOCUMENT in kinds:
            self.document = desk.as_admin("one.document.allocate", f'NAME="{self.name("document")}"', DOCUMENT_TYPE)

    def name(self, prefix: str) -> str:
        return f"{prefix}{self.number}"

    def actor(self, *gids: int) -> Actor:
        """A fresh plain user."""
        name = self.name("actor")
        uid = self.desk.user(name, *(gids or (1,)))
        return Actor(uid, gids[0] if gids else 1, set(gids or (1,)), session(name), [])

    def grant(self, actor: Actor, rights: set[str], kind: str, which: str, *, zone: int = ZONE, to: str = "") -> None:
        """A rule for the actor; only one that counts in the zone that answers enters the model."""
        listed = "+".join(right for right in RIGHTS if right in rights)
        self.desk.rule(f"{to or f'#{actor.uid}'} {kind}/{which} {listed} #{zone}")
        if zone == ZONE:
            actor.grants.append(Grant(frozenset(rights), kind, which))

    def things(self, need: Need, actor: Actor) -> list[Thing]:
        """The objects that a need is about."""
        kind = need.kind.acl_name
        if need.but_oneself and self.user == actor.uid:
            return []
        if need.condition == UNLESS_ADMIN_BITS:
            return []  # none of the calls here changes one
        if need.param is None:
            return [Thing(kind, -1, actor.gid if need.right.name == "CREATE" else -1)]
        if kind == "ZONE":
            return [Thing(kind, ZONE if need.param == THIS_ZONE else self.zone)]
        if kind == "VDC":
            return [Thing(kind, self.vdc)]
        if kind == "USER":
            return [Thing(kind, self.user, self.user_gid)]
        if need.kind in (Kind.CLUSTER, Kind.HOST, Kind.DOCUMENT):
            return [Thing(kind, self.one_of(need.kind), 0)]
        if need.kind in (Kind.DATASTORE, Kind.NET):
            return []
        if need.but_own_group and self.group == actor.gid:
            return []
        return [Thing(kind, self.group, self.group)]

    def needs(self, actor: Actor) -> list[tuple[str, Thing]]:
        """Right and object, in the order in which the row lists them."""
        return [(str(need.right.name), thing) for need in self.call.needs if not need.filters for thing in self.things(need, actor)]

    def granted(self) -> tuple[Any, ...]:
        """The outcome for those who may make the call."""
        if self.call.name not in REFUSED_TO_ALL:
            return ("allowed",)
        code, text = REFUSED_TO_ALL[self.call.name]
        return (code, f"[{self.call.name}] {text.format(cluster=self.cluster)}")

    def make_admin(self, actor: Actor, group: int) -> None:
        """Make the actor administrator of a group it is in."""
        self.desk.as_admin("one.group.addadmin", group, actor.uid)
        actor.grants += [Grant(frozenset(RIGHTS), "USER", f"@{group}"), Grant(frozenset({"MANAGE"}), "GROUP", f"#{group}")]

    def arguments(self, actor: Actor) -> tuple[Any, ...]:
        """Arguments with which the call succeeds if it is allowed; prepares what they rest on."""
        name, oneadmin = self.call.name, self.desk.as_admin
        match name:
            case "one.user.allocate":
                return (self.name("made"), SECRET, "", [self.group])
            case (
                "one.user.update"
                | "one.group.update"
                | "one.zone.update"
                | "one.cluster.update"
                | "one.host.update"
                | "one.document.update"
            ):
                return (self._named(), 'NOTE="x"', 1)
            case "one.cluster.allocate":
                return (self.name("made"),)
            case "one.cluster.delete":
                oneadmin("one.cluster.addhost", 0, self.host)
                return (self.cluster,)
            case "one.cluster.addhost" | "one.cluster.delhost":
                return (self.cluster, self.host)
            case "one.cluster.adddatastore" | "one.cluster.deldatastore" | "one.cluster.addvnet" | "one.cluster.delvnet":
                return (self.cluster, NOT_KEPT)
            case "one.cluster.optimize" | "one.cluster.planexecute" | "one.cluster.plandelete":
                return (self.cluster,)
            case "one.cluster.rename" | "one.host.rename" | "one.document.rename" | "one.document.clone":
                return (self._named(), self.name("renamed"))
            case "one.host.allocate":
                return (self.name("made"), "kvm", "kvm", self.cluster)
            case "one.host.status":
                return (self.host, 1)
            case "one.hostpool.monitoring":
                return (-1,)
            case "one.document.allocate":
                return (f'NAME="{self.name("made")}"', DOCUMENT_TYPE)
            case "one.document.chown":
                return (self.document, self.user, self.group)
            case "one.document.chmod":
                return (self.document, 1, 1, -1, 0, 0, -1, 0, 0, -1)
            case "one.document.lock":
                return (self.document, 3)
            case "one.documentpool.info":
                return (-2, -1, -1, DOCUMENT_TYPE)
            case "one.cluster.info" | "one.host.info" | "one.host.delete" | "one.host.monitoring":
                return (self._named(),)
            case "one.document.info" | "one.document.delete" | "one.document.unlock":
                return (self._named(),)
            case "one.user.passwd":
                return (self.user, "Another2")
            case "one.user.chauth":
                return (self.user, "core", "Another2")
            case "one.user.enable":
                return (self.user, True)
            case "one.user.chgrp" | "one.user.addgroup":
                return (self.user, self.group)
            case "one.user.delgroup":
                if self.group not in self.desk.site.user(self.user).groups:
                    oneadmin("one.user.addgroup", self.user, self.group)
                return (self.user, self.group)
            case "one.user.login":
                return (self.desk.site.user(self.user).name, "", 0, -1)
            case "one.user.delete" | "one.user.info" | "one.group.info" | "one.group.delete" | "one.zone.info" | "one.zone.delete":
                return (self._named(),)
            case "one.user.quota" | "one.group.quota":
                return (self._named(), "VM=[CPU=1]")
            case "one.group.vlan":
                return (self.group, "RULE=[ID=1]")
            case "one.userquota.update" | "one.groupquota.update":
                return ("",)
            case "one.group.allocate":
                return (self.name("made"),)
            case "one.group.addadmin":
                return (self.group, self.user)
            case "one.group.deladmin":
                if self.user == actor.uid:
                    self.make_admin(actor, self.group)
                else:
                    oneadmin("one.group.addadmin", self.group, self.user)
                return (self.group, self.user)
            case "one.acl.addrule":
                return (f"{0x100000000 + 50_000 + self.number:x}", "10400000000", "1", "400000000")
            case "one.acl.delrule":
                return (self.desk.rule(f"#{60_000 + self.number} USER/* USE #0"),)
            case "koinon.acl.diff":
                return ('{"add": ["* USER/* USE #0"]}',)
            case "koinon.acl.explain":
                return (self.user, "USE", "ZONE/#0", -1)
            case "one.vdc.allocate":
                return (f'NAME="{self.name("made")}"',)
            case "one.vdc.update":
                return (self.vdc, 'NOTE="x"', 1)
            case "one.vdc.rename":
                return (self.vdc, self.name("renamed"))
            case "one.vdc.info" | "one.vdc.delete":
                return (self.vdc,)
            case "one.vdc.addgroup":
                return (self.vdc, self.group)
            case "one.vdc.delgroup":
                oneadmin("one.vdc.addgroup", self.vdc, self.group)
                return (self.vdc, self.group)
            case "one.vdc.addcluster" | "one.vdc.addhost" | "one.vdc.adddatastore" | "one.vdc.addvnet":
                return (self.vdc, self.zone, self._resource())
            case "one.vdc.delcluster" | "one.vdc.delhost" | "one.vdc.deldatastore" | "one.vdc.delvnet":
                oneadmin(name.replace(".del", ".add"), self.vdc, self.zone, self._resource())
                return (self.vdc, self.zone, self._resource())
            case "one.zone.allocate":
                return (f'NAME="{self.name("zone")}" ENDPOINT="http://x:2633/RPC2"',)
            case "one.zone.rename":
                return (self.zone, self.name("renamed"))
            case "one.zone.enable":
                return (self.zone, True)
            case "one.zone.addserver":
                return (self.zone, f'SERVER=[NAME="{self.name("server")}", ENDPOINT="http://x:2633/RPC2"]')
            case "one.zone.delserver":
                oneadmin("one.zone.addserver", self.zone, f'SERVER=[NAME="{self.name("server")}", ENDPOINT="http://x:2633/RPC2"]')
                return (self.zone, int(self.desk.site.read(lambda tx: zones.get(tx, self.zone)).servers[-1]["ID"]))
            case "one.system.sqlquery":
                return ("SELECT oid, name FROM user_pool WHERE oid = 0",)
            case "one.system.sql":
                return ("DELETE FROM user_pool", False)
            case "one.zone.resetserver":
                return (self.zone, 0)
            case "system.methodExist" | "system.methodHelp" | "system.methodSignature":
                return ("one.user.info",)
            case _:
                assert not self.call.params, f"{name} takes arguments: say here with which ones it succeeds"
                return ()

    def _resource(self) -> int:
        """What a VDC gets or loses; nobody keeps datastores and networks yet, so any id will do."""
        return self.cluster if "cluster" in self.call.name else self.host if "host" in self.call.name else 3

    def one_of(self, kind: Kind) -> int:
        """The object of a kind that the call names or lists."""
        return {
            Kind.USER: self.user,
            Kind.GROUP: self.group,
            Kind.ZONE: self.zone,
            Kind.VDC: self.vdc,
            Kind.CLUSTER: self.cluster,
            Kind.HOST: self.host,
            Kind.DOCUMENT: self.document,
        }[kind]

    def _named(self) -> int:
        return self.one_of(Kind[self.call.name.split(".")[1].upper()])


# --- the roles


def oneadmin(_scene: Scene) -> Actor:
    return Actor(0, 0, {0}, ONEADMIN, [])


def user_on_another(scene: Scene) -> Actor:
    return scene.actor()


def user_on_self(scene: Scene) -> Actor:
    """Own record, own primary group."""
    in_group = scene.call.name == "one.user.allocate" or scene.call.name.startswith("one.group.")
    actor = scene.actor(scene.group) if in_group else scene.actor()
    scene.user, scene.user_gid = actor.uid, actor.gid
    return actor


def administrator_of_the_group(scene: Scene) -> Actor:
    """On a member, or on the group."""
    group = scene.group
    actor = scene.actor(group)
    scene.make_admin(actor, group)
    scene.user, scene.user_gid = scene.desk.user(scene.name("member"), group), group
    if scene.call.name in ("one.user.chgrp", "one.user.addgroup", "one.user.delgroup"):
        scene.group = scene.desk.site.add_group(scene.name("another"))
    return actor


def administrator_of_another_group(scene: Scene) -> Actor:
    group = scene.desk.site.add_group(scene.name("own"))
    actor = scene.actor(group)
    scene.make_admin(actor, group)
    return actor


def holder_of_the_rules(scene: Scene) -> Actor:
    """A rule for each need, with that right on that object and nothing else."""
    actor = scene.actor()
    for right, thing in scene.needs(actor):
        scene.grant(actor, {right}, thing.kind, _which(thing))
    return actor


def holder_of_the_rules_in_another_zone(scene: Scene) -> Actor:
    actor = scene.actor()
    for right, thing in scene.needs(actor):
        scene.grant(actor, {right}, thing.kind, _which(thing), zone=ELSEWHERE)
    return actor


def holder_of_rules_for_other_objects(scene: Scene) -> Actor:
    actor = scene.actor()
    for _, thing in scene.needs(actor):
        scene.grant(actor, set(RIGHTS), thing.kind, f"#{1_000_000 + thing.oid}")
    return actor


def wrong_password(scene: Scene) -> Actor:
    actor = holder_of_the_rules(scene)
    actor.session, actor.let_in = actor.session + "x", False
    return actor


def unknown_name(scene: Scene) -> Actor:
    return Actor(-1, -1, set(), session(scene.name("nobody")), [], let_in=False)


def disabled_user(scene: Scene) -> Actor:
    """With all it would take, were it enabled."""
    actor = holder_of_the_rules(scene)
    scene.desk.as_admin("one.user.enable", actor.uid, False)
    actor.let_in = False
    return actor


def token_for_the_group_of_the_rules(scene: Scene) -> Actor:
    return _narrowed(scene, to_the_group=True)


def token_for_another_group(scene: Scene) -> Actor:
    return _narrowed(scene, to_the_group=False)


def administrator_with_a_token_for_another_group(scene: Scene) -> Actor:
    actor = scene.actor(1, 0)
    return _with_token(scene, actor, 1)


def _narrowed(scene: Scene, *, to_the_group: bool) -> Actor:
    """A user whose rules are those of one of its groups, with a session for that group or for the other one."""
    own = scene.desk.site.add_group(scene.name("own"))
    actor = scene.actor(1, own)
    narrowed = _with_token(scene, actor, own if to_the_group else 1)
    for right, thing in scene.needs(narrowed):
        scene.grant(narrowed, {right}, thing.kind, _which(thing), to=f"@{own}")
    if not to_the_group:
        narrowed.grants.clear()
    return narrowed


def _with_token(scene: Scene, actor: Actor, gid: int) -> Actor:
    name = actor.session.partition(":")[0]
    token = scene.desk.value(actor.session, "one.user.login", name, "", 600, gid)
    return Actor(actor.uid, gid, {gid}, f"{name}:{token}", [])


def _which(thing: Thing) -> str:
    return "*" if thing.oid < 0 else f"#{thing.oid}"


ROLES: Final = (
    oneadmin,
    user_on_self,
    user_on_another,
    administrator_of_the_group,
    administrator_of_another_group,
    holder_of_the_rules,
    holder_of_the_rules_in_another_zone,
    holder_of_rules_for_other_objects,
    wrong_password,
    unknown_name,
    disabled_user,
    token_for_the_group_of_the_rules,
    token_for_another_group,
    administrator_with_a_token_for_another_group,
)


# --- the matrix


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A master zone in which only the rules that a cell makes let anybody see users, groups and zones, and create documents."""
    desk = Desk(tmp_path_factory.mktemp("access"))
    desk.site.become_master()
    assert desk.as_admin("one.zone.allocate", 'NAME="elsewhere" ENDPOINT="http://x:2633/RPC2"') == ELSEWHERE
    assert desk.site.rules()[0].startswith("@1 VM+IMAGE+TEMPLATE+DOCUMENT")
    assert desk.site.rules()[1] == "* ZONE/* USE *"
    desk.as_admin("one.acl.delrule", 0)
    desk.as_admin("one.acl.delrule", 1)
    yield desk
    desk.close()


@pytest.fixture(autouse=True)
def _no_rules_of_other_cells(desk: Desk) -> Iterator[None]:
    """Rules are compiled anew after each change: left alone, those of all cells before would cost most of the time."""
    before = {row.oid for row in desk.site.read(lambda tx: tx.acl())}
    yield

    def drop(tx: SharedTx) -> None:
        for row in tx.acl():
            if row.oid not in before:
                tx.delete("acl", row.oid)

    desk.site.write(drop)


def outcome(scene: Scene, actor: Actor) -> tuple[Any, ...]:
    """Make the call: ``("allowed",)`` if it is done, or code and text of the refusal."""
    arguments = scene.arguments(actor)
    reply = scene.desk.call(actor.session, scene.call.name, *arguments)
    if not scene.call.authenticates or reply[0] is True:
        return ("allowed",)
    return (reply[2], reply[1])


def expected(scene: Scene, actor: Actor) -> tuple[Any, ...]:
    """What the row's needs and the model say. To be asked after the call: its arguments may add rules."""
    if not scene.call.authenticates:
        return ("allowed",)
    if not actor.let_in:
        return (AUTHENTICATION, f"[{scene.call.name}] User couldn't be authenticated, aborting call.")
    if scene.call.name in BEFORE_RIGHTS:
        return scene.granted()
    if scene.call.user_0_only and actor.uid != 0:
        return (AUTHORIZATION, f"[{scene.call.name}] User [{actor.uid}] not authorized to perform action on -.")
    missing = [
        f"Not authorized to perform {right} {thing.kind}" + (f" [{thing.oid}]" if thing.oid >= 0 else "")
        for right, thing in scene.needs(actor)
        if not may(actor, right, thing)
    ]
    if scene.call.group_0_only and actor.gid != 0:
        missing.append("The default quotas can only be updated by users in the oneadmin group")
    if missing:
        return (AUTHORIZATION, f"[{scene.call.name}] User [{actor.uid}] : {'; '.join(missing)}.")
    return scene.granted()


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.__name__)
@pytest.mark.parametrize("call", CALLS.values(), ids=lambda call: call.name)
def test_a_call_is_allowed_to_those_who_have_what_its_row_needs(desk: Desk, call: Call, role: Any) -> None:
    scene = Scene(desk, call)
    actor = role(scene)
    assert outcome(scene, actor) == expected(scene, actor)
    if role is oneadmin or (role is holder_of_the_rules and not (call.group_0_only or call.user_0_only)):
        assert expected(scene, actor) == scene.granted()


SINGLE_NEEDS: Final = [
    (call, need)
    for call in CALLS.values()
    for need in call.needs
    if not need.filters and need.condition != UNLESS_ADMIN_BITS and call.name not in BEFORE_RIGHTS
]


@pytest.mark.parametrize(
    ("call", "lacking"), SINGLE_NEEDS, ids=[f"{call.name}-{need.right.name}-{need.kind.name}" for call, need in SINGLE_NEEDS]
)
def test_every_other_right_does_not_make_up_for_the_one_that_a_row_needs(desk: Desk, call: Call, lacking: Need) -> None:
    """All other needs are met, and on this object the caller has every right but the one."""
    scene = Scene(desk, call)
    actor = scene.actor()
    for need in call.needs:
        for thing in scene.things(need, actor):
            rights = set(RIGHTS) - {str(need.right.name)} if need is lacking else {str(need.right.name)}
            scene.grant(actor, rights, thing.kind, _which(thing))
    wanted = expected(scene, actor)
    assert wanted[0] == AUTHORIZATION
    assert outcome(scene, actor) == wanted


#: A list of samples is empty, whoever asks: nothing probes hosts.
LISTS: Final = [call for call in CALLS.values() if any(need.filters for need in call.needs) and not call.name.endswith(".monitoring")]


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.__name__)
@pytest.mark.parametrize("call", LISTS, ids=lambda call: call.name)
def test_a_list_shows_what_the_caller_may_use_and_nothing_else(desk: Desk, call: Call, role: Any) -> None:
    kind = call.needs[0].kind
    scene = Scene(desk, call)
    actor = role(scene)
    if not actor.let_in:
        assert desk.failure(actor.session, call.name, *scene.arguments(actor)).code == AUTHENTICATION
        return
    scene.grant(actor, {"USE"}, kind.acl_name, f"#{scene.one_of(kind)}")
    if kind.acl_name == "USER":
        scene.grant(actor, {"USE", "MANAGE"}, "USER", f"@{desk.site.add_group(scene.name('watched'))}")
        scene.grant(actor, {"MANAGE", "ADMIN", "CREATE"}, "USER", "*")  # says nothing about lists
    rows = desk.site.read(lambda tx: tx.fetch(f"SELECT oid, gid FROM {kind.acl_name.lower()}_pool ORDER BY oid"))
    seen = [oid for oid, gid in rows if may(actor, "USE", Thing(kind.acl_name, oid, gid))]
    reply = desk.value(actor.session, call.name, *scene.arguments(actor))
    listed = [int(node.findtext("ID", "")) for node in etree.fromstring(reply).findall(kind.acl_name)]
    assert listed == seen[::-1]
    assert listed


def test_the_default_rule_lets_everybody_see_zones(tmp_path: Path) -> None:
    """The matrix goes without it."""
    desk = Desk(tmp_path)
    desk.user("ada")
    assert "<NAME>OpenNebula</NAME>" in desk.value(session("ada"), "one.zone.info", 0)
    assert "<NAME>OpenNebula</NAME>" in desk.value(session("ada"), "one.zonepool.info")
    desk.close()

"""A small true stand-in for a zone: a real HTTP server that speaks real XML-RPC and keeps users, groups, rules and zones in memory.

Not here: access decisions, replication, templates; end-to-end tests run real zones.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import BaseServer
from types import TracebackType
from typing import Any, Self

from koinon.accounting.quotas import Quotas
from koinon.accounting.vlan_rules import rules_of
from koinon.objects.acl import Rule
from koinon.objects.template import Template
from koinon.wire import xmlrpc


class Refused(Exception):
    """The answer is no."""

    def __init__(self, text: str, code: int, object_id: int = -1) -> None:
        super().__init__(text)
        self.text, self.code, self.object_id = text, code, object_id


@dataclass
class User:
    uid: int
    name: str
    password: str
    driver: str = "core"
    gid: int = 1
    groups: set[int] = field(default_factory=set)
    enabled: bool = True
    template: str = ""
    tokens: dict[str, tuple[int, int]] = field(default_factory=dict)


class StandIn:
    """One zone; also a context manager that serves while it is entered."""

    def __init__(self, zone_id: int = 0, *, position: int = 41) -> None:
        self.zone_id, self.position = zone_id, position
        self.users = {
            0: User(0, "oneadmin", "opennebula", gid=0, groups={0}),
            1: User(1, "serveradmin", "x", driver="server_cipher", gid=0, groups={0}),
        }
        self.groups = {0: "oneadmin", 1: "users"}
        self.admins: dict[int, set[int]] = {}
        self.templates: dict[tuple[str, int], str] = {}
        self.rules: dict[int, Rule] = {}
        self.zones: dict[int, tuple[str, int, str]] = {}
        self.servers: dict[int, str] = {}  # of this zone
        self.vdcs: dict[int, Vdc] = {0: Vdc(0, "default")}
        self.datastores: dict[int, str] = {}
        self.quotas: dict[tuple[str, int], Quotas] = {}  # -1 are the defaults
        self.vlans: dict[int, str] = {}
        self.calls: list[tuple[str, list[Any]]] = []
        self.connections = 0
        self.hold: threading.Event | None = None  # set: calls wait for it before they are answered
        self.unserved: set[str] = set()  # methods that this zone refuses
        self.held = ""  # only calls of this method wait, if one is named
        self.asked = threading.Event()
        self._server = _Server(self)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/RPC2"
        self.zones[zone_id] = ("OpenNebula", 0, self.url)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.hold is not None:
            self.hold.set()
        self._server.shutdown()
        self._server.server_close()

    def made(self, method: str) -> list[list[Any]]:
        """Parameters, without the session, of each call of ``method``."""
        return [params for name, params in self.calls if name == method]

    def answer(self, body: bytes) -> bytes:
        try:
            request = xmlrpc.decode(body)
            method = None if request.method in self.unserved else _METHODS.get(request.method)
            if method is None:
                raise xmlrpc.unknown_method(request.method)
            session, *params = request.params
            self.calls.append((request.method, params))
            self.asked.set()
            if self.hold is not None and self.held in ("", request.method):
                self.hold.wait()
            return xmlrpc.encode_success(method(self, self._caller(session), *params))
        except xmlrpc.Fault as fault:
            return xmlrpc.encode_fault(fault.code, fault.text)
        except Refused as refused:
            return xmlrpc.encode_failure(f"[{request.method}] {refused.text}", refused.code, refused.object_id)

    def _caller(self, session: str) -> User:
        name, _, secret = session.partition(":")
        for user in self.users.values():
            if user.name == name and user.enabled and (secret == user.password or secret in user.tokens):
                return user
        raise Refused("User couldn't be authenticated, aborting call.", 0x100)

    def user(self, uid: int) -> User:
        if uid not in self.users:
            raise Refused(f"Error getting user [{uid}].", 0x400, uid)
        return self.users[uid]

    def user_xml(self, user: User) -> str:
        ids = "".join(f"<ID>{gid}</ID>" for gid in sorted({user.gid, *user.groups}))
        tokens = "".join(
            f"<LOGIN_TOKEN><TOKEN>{'f' * 8}{token[:8]}</TOKEN><EXPIRATION_TIME>{until}</EXPIRATION_TIME><EGID>{gid}</EGID></LOGIN_TOKEN>"
            for token, (until, gid) in user.tokens.items()
        )
        return (
            f"<USER><ID>{user.uid}</ID><GID>{user.gid}</GID><GROUPS>{ids}</GROUPS><GNAME>{self.groups[user.gid]}</GNAME><NAME>{user.name}</NAME>"
            f"<PASSWORD><![CDATA[***]]></PASSWORD><AUTH_DRIVER><![CDATA[{user.driver}]]></AUTH_DRIVER><ENABLED>{int(user.enabled)}</ENABLED>"
            f"{tokens}<TEMPLATE>{user.template}</TEMPLATE>{self.limits('user', user.uid).to_xml()}</USER>"
        )

    def group_xml(self, gid: int) -> str:
        users = "".join(f"<ID>{user.uid}</ID>" for user in self.users.values() if gid in {user.gid, *user.groups})
        admins = "".join(f"<ID>{uid}</ID>" for uid in sorted(self.admins.get(gid, ())))
        limits = f"{self.limits('group', gid).to_xml()}<VLAN_RULES><ID>{gid}</ID>{self.vlans.get(gid, '')}</VLAN_RULES>"
        return (
            f"<GROUP><ID>{gid}</ID><NAME>{self.groups[gid]}</NAME><TEMPLATE/><USERS>{users}</USERS>"
            f"<ADMINS>{admins}</ADMINS>{limits}</GROUP>"
        )

    def limits(self, noun: str, oid: int) -> Quotas:
        return self.quotas.setdefault((noun, oid), Quotas(for_all=oid == -1))

    def zone_xml(self, zone_id: int) -> str:
        name, state, url = self.zones[zone_id]
        servers = "".join(self.servers.values()) if zone_id == self.zone_id else ""
        return (
            f"<ZONE><ID>{zone_id}</ID><NAME>{name}</NAME><STATE>{state}</STATE><TEMPLATE><ENDPOINT><![CDATA[{url}]]></ENDPOINT></TEMPLATE>"
            f"<SERVER_POOL>{servers}</SERVER_POOL></ZONE>"
        )


def _allocate_user(zone: StandIn, caller: User, name: str, password: str, driver: str, groups: list[int]) -> int:
    for user in zone.users.values():
        if user.name == name:
            raise Refused(f"NAME is already taken by USER {user.uid}.", 0x2000)
    uid = max(zone.users) + 1
    zone.users[uid] = User(uid, name, password, driver, groups[0] if groups else 1, set(groups or [1]))
    return uid


def _passwd(zone: StandIn, caller: User, uid: int, password: str) -> int:
    zone.user(uid).password = password
    return uid


def _chgrp(zone: StandIn, caller: User, uid: int, gid: int) -> int:
    zone.user(uid).gid = gid
    return uid


def _addgroup(zone: StandIn, caller: User, uid: int, gid: int) -> int:
    zone.user(uid).groups.add(gid)
    return uid


def _delgroup(zone: StandIn, caller: User, uid: int, gid: int) -> int:
    zone.user(uid).groups.discard(gid)
    return uid


def _chauth(zone: StandIn, caller: User, uid: int, driver: str, password: str) -> int:
    user = zone.user(uid)
    user.driver, user.password = driver, password or user.password
    return uid


def _delete_user(zone: StandIn, caller: User, uid: int) -> int:
    if uid == 0:
        raise Refused("Cannot delete user. oneadmin cannot be deleted.", 0x800, 0)
    del zone.users[zone.user(uid).uid]
    return uid


def _enable_user(zone: StandIn, caller: User, uid: int, enable: bool) -> int:
    zone.user(uid).enabled = enable
    return uid


def _login(zone: StandIn, caller: User, name: str, token: str, valid: int, egid: int = -1) -> str:
    user = next(user for user in zone.users.values() if user.name == name)
    if valid == 0:
        if token:
            user.tokens.pop(token, None)
        else:
            user.tokens.clear()
        return token
    made = token or f"token{len(user.tokens)}"
    user.tokens[made] = (-1 if valid < 0 else 1_900_000_000, egid)
    return made


def _update(zone: StandIn, caller: User, noun: str, oid: int, template: str, how: int) -> int:
    zone.templates[noun, oid] = template
    return oid


def _allocate_group(zone: StandIn, caller: User, name: str) -> int:
    gid = max(99, *zone.groups) + 1
    zone.groups[gid] = name
    return gid


def _delete_group(zone: StandIn, caller: User, gid: int) -> int:
    if gid < 100:
        raise Refused("Cannot delete group. System Groups (ID < 100) cannot be deleted.", 0x800, gid)
    del zone.groups[gid]
    return gid


def _addadmin(zone: StandIn, caller: User, gid: int, uid: int) -> int:
    zone.admins.setdefault(gid, set()).add(zone.user(uid).uid)
    return gid


def _deladmin(zone: StandIn, caller: User, gid: int, uid: int) -> int:
    zone.admins.setdefault(gid, set()).discard(zone.user(uid).uid)
    return gid


def _add_rule(zone: StandIn, caller: User, user: str, resource: str, rights: str, where: str = "") -> int:
    rule = Rule(int(user, 16), int(resource, 16), int(rights, 16), int(where, 16))
    if rule in zone.rules.values():
        raise Refused(f"Rule {rule.text()} already exists", 0x2000)
    oid = max(zone.rules, default=-1) + 1
    zone.rules[oid] = rule
    return oid


def _delete_rule(zone: StandIn, caller: User, oid: int) -> int:
    if oid not in zone.rules:
        raise Refused(f"Rule {oid} does not exist", 0x2000, oid)
    del zone.rules[oid]
    return oid


def _acl_info(zone: StandIn, caller: User) -> str:
    rules = "".join(
        f"<ACL><ID>{oid}</ID><USER>{r.user:x}</USER><RESOURCE>{r.resource:x}</RESOURCE><RIGHTS>{r.rights:x}</RIGHTS><ZONE>{r.zone:x}</ZONE>"
        f"<STRING>{r.text()}</STRING></ACL>"
        for oid, r in zone.rules.items()
    )
    return f"<ACL_POOL>{rules}</ACL_POOL>"


def _allocate_zone(zone: StandIn, caller: User, template: str) -> int:
    zone.templates["zone", 100] = template
    return 100


def _delete_zone(zone: StandIn, caller: User, zone_id: int) -> int:
    del zone.zones[zone_id]
    return zone_id


def _rename_zone(zone: StandIn, caller: User, zone_id: int, name: str) -> int:
    zone.zones[zone_id] = (name, *zone.zones[zone_id][1:])
    return zone_id


def _enable_zone(zone: StandIn, caller: User, zone_id: int, enable: bool) -> int:
    name, _, url = zone.zones[zone_id]
    zone.zones[zone_id] = (name, int(not enable), url)
    return zone_id


def _add_server(zone: StandIn, caller: User, zone_id: int, template: str) -> int:
    if zone_id != zone.zone_id:
        raise Refused("Servers have to be added through the target zone endpoints", 0x800)
    server = Template.parse(template).vector("SERVER") or {}
    oid = max(zone.servers, default=-1) + 1
    keys = "".join(f"<{name}>{value}</{name}>" for name, value in (server | {"ID": str(oid)}).items())
    zone.servers[oid] = f"<SERVER>{keys}</SERVER>"
    return zone_id


def _del_server(zone: StandIn, caller: User, zone_id: int, server_id: int) -> int:
    if zone.servers.pop(server_id, None) is None:
        raise Refused("SERVER not found in zone", 0x800)
    return zone_id


@dataclass
class Vdc:
    oid: int
    name: str
    groups: set[int] = field(default_factory=set)
    resources: dict[str, set[tuple[int, int]]] = field(default_factory=dict)

    def xml(self) -> str:
        ids = "".join(f"<ID>{gid}</ID>" for gid in sorted(self.groups))
        lists = "".join(
            f"<{tag}S>"
            + "".join(
                f"<{tag}><ZONE_ID>{zone_id}</ZONE_ID><{tag}_ID>{oid}</{tag}_ID></{tag}>"
                for zone_id, oid in sorted(self.resources.get(tag.lower(), ()))
            )
            + f"</{tag}S>"
            for tag in ("CLUSTER", "HOST", "DATASTORE", "VNET")
        )
        return f"<VDC><ID>{self.oid}</ID><NAME>{self.name}</NAME><GROUPS>{ids}</GROUPS>{lists}<TEMPLATE><A>1</A></TEMPLATE></VDC>"


def _vdc(zone: StandIn, oid: int) -> Vdc:
    if oid not in zone.vdcs:
        raise Refused(f"Error getting VDC [{oid}].", 0x400, oid)
    return zone.vdcs[oid]


def _allocate_vdc(zone: StandIn, caller: User, template: str) -> int:
    oid = max(99, *zone.vdcs) + 1
    zone.vdcs[oid] = Vdc(oid, Template.parse(template).get("NAME") or "")
    zone.templates["vdc", oid] = template
    return oid


def _rename_vdc(zone: StandIn, caller: User, oid: int, name: str) -> int:
    _vdc(zone, oid).name = name
    return oid


def _delete_vdc(zone: StandIn, caller: User, oid: int) -> int:
    del zone.vdcs[_vdc(zone, oid).oid]
    return oid


def _add_to_vdc(word: str) -> Callable[..., int]:
    def add(zone: StandIn, caller: User, oid: int, zone_id: int, resource_id: int) -> int:
        _vdc(zone, oid).resources.setdefault(word, set()).add((zone_id, resource_id))
        return oid

    return add


def _del_from_vdc(word: str) -> Callable[..., int]:
    def remove(zone: StandIn, caller: User, oid: int, zone_id: int, resource_id: int) -> int:
        _vdc(zone, oid).resources.setdefault(word, set()).discard((zone_id, resource_id))
        return oid

    return remove


def _addgroup_vdc(zone: StandIn, caller: User, oid: int, gid: int) -> int:
    _vdc(zone, oid).groups.add(gid)
    return oid


def _delgroup_vdc(zone: StandIn, caller: User, oid: int, gid: int) -> int:
    _vdc(zone, oid).groups.discard(gid)
    return oid


def _datastores(zone: StandIn, caller: User) -> str:
    listed = (f"<DATASTORE><ID>{oid}</ID><NAME>{name}</NAME></DATASTORE>" for oid, name in zone.datastores.items())
    return f"<DATASTORE_POOL>{''.join(listed)}</DATASTORE_POOL>"


def _quota(noun: str) -> Callable[..., int]:
    def set_limits(zone: StandIn, caller: User, oid: int, text: str) -> int:
        if oid == 0:
            raise Refused(f"Cannot set quotas for oneadmin {noun}", 0x800, 0)
        zone.limits(noun, oid).set_limits(text, clusters=())
        return oid

    return set_limits


def _default_quota(noun: str) -> Callable[..., str]:
    def set_default(zone: StandIn, caller: User, text: str = "") -> str:
        zone.limits(noun, -1).set_limits(text, clusters=())
        return f"<DEFAULT_{noun.upper()}_QUOTAS>{zone.limits(noun, -1).to_xml()}</DEFAULT_{noun.upper()}_QUOTAS>"

    return set_default


def _set_vlans(zone: StandIn, caller: User, gid: int, text: str) -> int:
    zone.vlans[gid] = rules_of(text)
    return gid


_RESOURCES = ("cluster", "host", "datastore", "vnet")

_METHODS: dict[str, Callable[..., str | int]] = {
    **{f"one.{noun}.quota": _quota(noun) for noun in ("user", "group")},
    **{f"one.{noun}quota.{verb}": _default_quota(noun) for noun in ("user", "group") for verb in ("info", "update")},
    "one.group.vlan": _set_vlans,
    "one.vdc.allocate": _allocate_vdc,
    "one.vdc.rename": _rename_vdc,
    "one.vdc.delete": _delete_vdc,
    "one.vdc.addgroup": _addgroup_vdc,
    "one.vdc.delgroup": _delgroup_vdc,
    **{f"one.vdc.add{word}": _add_to_vdc(word) for word in _RESOURCES},
    **{f"one.vdc.del{word}": _del_from_vdc(word) for word in _RESOURCES},
    "one.vdc.update": lambda zone, caller, *rest: _update(zone, caller, "vdc", *rest),
    "one.vdc.info": lambda zone, caller, oid, *_: _vdc(zone, oid).xml(),
    "one.vdcpool.info": lambda zone, caller: f"<VDC_POOL>{''.join(vdc.xml() for vdc in zone.vdcs.values())}</VDC_POOL>",
    "one.datastorepool.info": _datastores,
    "one.user.allocate": _allocate_user,
    "one.user.passwd": _passwd,
    "one.user.chgrp": _chgrp,
    "one.user.addgroup": _addgroup,
    "one.user.delgroup": _delgroup,
    "one.user.chauth": _chauth,
    "one.user.delete": _delete_user,
    "one.user.enable": _enable_user,
    "one.user.login": _login,
    "one.user.update": lambda zone, caller, *rest: _update(zone, caller, "user", *rest),
    "one.user.info": lambda zone, caller, uid, *_: zone.user_xml(caller if uid == -1 else zone.user(uid)),
    "one.userpool.info": lambda zone, caller: (
        f"<USER_POOL>{''.join(map(zone.user_xml, reversed(zone.users.values())))}<DEFAULT_USER_QUOTAS/></USER_POOL>"
    ),
    "one.group.allocate": _allocate_group,
    "one.group.delete": _delete_group,
    "one.group.addadmin": _addadmin,
    "one.group.deladmin": _deladmin,
    "one.group.update": lambda zone, caller, *rest: _update(zone, caller, "group", *rest),
    "one.group.info": lambda zone, caller, gid, *_: zone.group_xml(caller.gid if gid == -1 else gid),
    "one.grouppool.info": lambda zone, caller: f"<GROUP_POOL>{''.join(map(zone.group_xml, zone.groups))}</GROUP_POOL>",
    "one.acl.addrule": _add_rule,
    "one.acl.delrule": _delete_rule,
    "one.acl.info": _acl_info,
    "one.zone.allocate": _allocate_zone,
    "one.zone.delete": _delete_zone,
    "one.zone.rename": _rename_zone,
    "one.zone.enable": _enable_zone,
    "one.zone.addserver": _add_server,
    "one.zone.delserver": _del_server,
    "one.zone.resetserver": lambda zone, caller, zone_id, server_id: zone_id,
    "one.zone.update": lambda zone, caller, *rest: _update(zone, caller, "zone", *rest),
    "one.zone.info": lambda zone, caller, zone_id, *_: zone.zone_xml(zone_id),
    "one.zonepool.info": lambda zone, caller: f"<ZONE_POOL>{''.join(map(zone.zone_xml, zone.zones))}</ZONE_POOL>",
    "one.clusterpool.info": lambda zone, caller: "<CLUSTER_POOL></CLUSTER_POOL>",
    "one.document.allocate": lambda zone, caller, *_: 7,
    "one.documentpool.info": lambda zone, caller, *_: "<DOCUMENT_POOL></DOCUMENT_POOL>",
    "one.hostpool.info": lambda zone, caller: "<HOST_POOL></HOST_POOL>",
    "one.zone.raftstatus": lambda zone, caller: f"<RAFT><SERVER_ID>-1</SERVER_ID><FEDLOG_INDEX>{zone.position}</FEDLOG_INDEX></RAFT>",
    "one.system.config": lambda zone, caller: (
        f"<OPENNEBULA_CONFIGURATION><FEDERATION><MODE>MASTER</MODE><ZONE_ID>{zone.zone_id}</ZONE_ID></FEDERATION></OPENNEBULA_CONFIGURATION>"
    ),
}


class HangUps(BaseServer):
    """A server whose clients may leave in the middle of anything.

    What is printed of that would stand in the standard error that the next test looks at.
    """

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Server(HangUps, ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, zone: StandIn) -> None:
        self.zone = zone
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        self.server.zone.connections += 1
        super().setup()

    def do_POST(self) -> None:
        reply = self.server.zone.answer(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Type", "text/xml; charset=utf-8")
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, format: str, *args: object) -> None:
        """Tests print what they need."""

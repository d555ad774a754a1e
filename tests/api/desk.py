"""A zone's API without sockets: the real database, log-in, bindings and dispatcher, wired as the daemon wires them.

``Desk.call`` sends an XML-RPC body and returns the reply array as it came. Passwords are stored as sha256, which costs nothing.
"""

from __future__ import annotations

import xmlrpc.client
from pathlib import Path
from typing import Any, NamedTuple

from koinon import clock
from koinon.api.bindings import Bindings, Services
from koinon.api.dispatch import Dispatcher
from koinon.daemon.wiring import bind_all
from koinon.federation.forwarding import Forwarding
from koinon.federation.keys import KeyStore
from koinon.federation.links import Links
from koinon.identity import passwords, users
from koinon.identity.login import Login
from koinon.objects.acl import Rule
from koinon.settings import LoginSettings, ServerSettings, Settings
from koinon.wire import xmlrpc as wire
from tests.identity.site import ADMIN, Site

SECRET = "Secret1"
VERIFIER = passwords.make(SECRET, "sha256")

AUTHENTICATION, AUTHORIZATION, NO_EXISTS, ACTION, RPC_API, INTERNAL, ALLOCATE = 0x100, 0x200, 0x400, 0x800, 0x1000, 0x2000, 0x4000

_SERVER = ServerSettings(sql_queries=True)


class Failure(NamedTuple):
    """What a failed call said: code, text without its prefix, id of the object."""

    code: int
    text: str
    object_id: int


class Desk:
    """One zone and its dispatcher.

    Attributes:
        site: the zone.
        monotonic: seconds of the clock that guessers wait by.
        halted: why shared writes are refused.
        bindings: what does the work; a test may put something else there.
    """

    def __init__(self, folder: Path, *, server: ServerSettings = _SERVER, **login: Any) -> None:
        self.site = Site(folder)
        self.site.write(lambda tx: users.set_verifier(tx, ADMIN, 0, VERIFIER, driver="core"))
        settings = Settings(state_dir=str(folder), server=server, login=LoginSettings(password_hash="sha256", **login))
        self.hasher = passwords.Hasher()
        self.hasher.typical_s = 0.0
        self.monotonic = 0.0
        self.login = Login(self.site.database, self.hasher, remember_s=300, now_s=lambda: clock.now_s(), monotonic_s=lambda: self.monotonic)
        self.bindings: Bindings = bind_all(Services(settings, self.site.database, self.hasher))
        self.links = Links(self.site.database, KeyStore(folder))
        forwarding = Forwarding(self.site.database, self.links, lambda: None, settings.federation)
        self.halted: str | None = None
        self.dispatcher = Dispatcher(self.site.database, self.login, self.bindings, forwarding, lambda: self.halted)

    def close(self) -> None:
        self.site.run(self.links.close())
        self.hasher.close()
        self.site.close()

    def reply(self, body: bytes) -> bytes:
        """The reply to a body."""
        return self.site.run(self.dispatcher.answer(body)).body

    def call(self, session: str, method: str, *arguments: Any) -> Any:
        """The reply array of one call, or the value of a ``system.`` call; raises xmlrpc.client.Fault."""
        sent = (session, *arguments) if not method.startswith("system.") else arguments
        values, _ = xmlrpc.client.loads(self.reply(wire.encode_call(method, sent)))
        return values[0]

    def value(self, session: str, method: str, *arguments: Any) -> Any:
        """What a call that must succeed returns."""
        reply = self.call(session, method, *arguments)
        assert reply[0] is True, f"{method}{arguments}: {reply}"
        return reply[1]

    def failure(self, session: str, method: str, *arguments: Any) -> Failure:
        """What a call that must fail says; its form is checked on the way."""
        reply = self.call(session, method, *arguments)
        assert reply[0] is False, f"{method}{arguments}: {reply}"
        assert len(reply) == 5
        _, text, code, object_id, index = reply
        assert text.startswith(f"[{method}] ")
        assert (type(code), type(object_id), index) == (int, int, -1)
        return Failure(code, text.removeprefix(f"[{method}] "), object_id)

    def as_admin(self, method: str, *arguments: Any) -> Any:
        """``value`` as oneadmin."""
        return self.value(ONEADMIN, method, *arguments)

    def opens(self, session: str) -> bool:
        """Whether a session is let in."""
        reply = self.call(session, "one.system.version")
        assert reply[0] is True or reply[2] == AUTHENTICATION
        return bool(reply[0])

    def user(self, name: str, *gids: int) -> int:
        """A new user with the password SECRET."""
        return self.site.add_user(name, *gids, verifier=VERIFIER)

    def rule(self, text: str) -> int:
        """A new rule from its text."""
        rule = Rule.parse(text, 0)
        return int(self.as_admin("one.acl.addrule", *(f"{number:x}" for number in (rule.user, rule.resource, rule.rights, rule.zone))))


ONEADMIN = f"{ADMIN.name}:{SECRET}"


def session(name: str) -> str:
    """The session of a user made by ``Desk.user``."""
    return f"{name}:{SECRET}"

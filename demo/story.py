"""The story of the demo: three zones join, share a user, keep a rule local to one zone, and one catches up after an absence.

Path:     __main__ -> Story.tell() -> harness zones: real processes, joined with real tokens
Not here: printing (screen.py); what happens until Ctrl-C (__main__).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from demo.screen import Screen, lag, position
from harness.processes import free_port
from harness.zones import Federation, Zone, wait_until

NAMES: Final = ("athens", "corinth", "thebes")
_USER, _PASSWORD = "alice", "Demo-1"  # throw-away: the demo's state lives only as long as the demo
_FIRST_PORTS: Final = ((2633, 2635), (2643, 2645), (2653, 2655))
_ABSENT_WRITES: Final = 200


class Story:
    """Three zones and what is shown of them.

    Attributes:
        zones: the federation; the first zone is the master.
    """

    def __init__(self, folder: Path, screen: Screen) -> None:
        self._screen = screen
        made = [
            Zone(folder / name, name, ports=(free_port((clients,)), free_port((zones,))))
            for name, (clients, zones) in zip(NAMES, _FIRST_PORTS, strict=True)
        ]
        self.zones = Federation(made, None)
        self._uid = -1

    def tell(self) -> None:
        """All chapters in order; checks that fail are counted by the screen."""
        self._start()
        self._join()
        self._share_a_user()
        self._rule_for_one_zone()
        self._catch_up()

    def _start(self) -> None:
        self._screen.step("Three zones start, each with a database, users and a password of its own")
        for zone in self.zones.zones:
            zone.launch()
        for zone in self.zones.zones:
            self._screen.command(zone.name, f"koinon server --config {zone.config}")
            zone.await_answer()
        self._screen.table(
            ("zone", "role", "clients call", "zones call"),
            [(zone.name, zone.status()["role"], zone.endpoint, f"127.0.0.1:{zone.federation_port}") for zone in self.zones.zones],
        )

    def _join(self) -> None:
        master = self.zones.master
        self._screen.step(f"{master.name} opens a federation; the others join, each with a one-use token")
        self._screen.command(master.name, "koinon federation init")
        master.federation("init")
        for slave in self.zones.slaves:
            self._screen.command(master.name, f"koinon federation invite {slave.name} --endpoint {slave.endpoint}")
            token = master.federation("invite", slave.name, "--endpoint", slave.endpoint).stdout.strip()
            self._screen.command(slave.name, f"koinon federation join {token[:24]}...")
            slave.federation("join", token)
        self.zones.settled()
        self._show_positions()
        roles = [zone.status()["role"] for zone in self.zones.zones]
        self._screen.check("one master, two slaves that follow it", roles == ["master", "slave", "slave"], ", ".join(roles))

    def _share_a_user(self) -> None:
        slave = self.zones.slaves[0]
        self._screen.step(f"A user is created in {slave.name}, a slave: the write goes to the master and comes back as a copy")
        self._screen.command(slave.name, f"oneuser create {_USER} {_PASSWORD}")
        slave.command("oneuser", "create", _USER, _PASSWORD, session=self.zones.secret)
        at_once = {user.NAME: user.ID for user in self.zones.client(slave).userpool.info().USER}
        self._screen.check(f"{slave.name} shows {_USER} as soon as the command returns", _USER in at_once)
        self._uid = at_once.get(_USER, -1)
        self.zones.settled()
        self._show_positions()
        seen = [zone.client(_USER, _PASSWORD).user.info(-1).ID for zone in self.zones.zones]
        self._screen.check(f"{_USER} logs in at every zone and is user {self._uid} everywhere", set(seen) == {self._uid}, seen)

    def _rule_for_one_zone(self) -> None:
        there = self.zones.slaves[0]
        rule = f"#{self._uid} USER/* USE #{there.status()['zone_id']}"
        self._screen.step(f"A rule for one zone: {_USER} may see everybody in {there.name}, and only herself elsewhere")
        self._screen.command(self.zones.master.name, f'oneacl create "{rule}"')
        self.zones.master.command("oneacl", "create", rule, session=self.zones.secret)
        self.zones.settled()
        for zone in self.zones.zones:
            names = sorted(user.NAME for user in zone.client(_USER, _PASSWORD).userpool.info().USER)
            everybody = {"oneadmin", "serveradmin", _USER} <= set(names)
            if zone is there:
                self._screen.check(f"{zone.name}: {_USER} sees everybody", everybody, ", ".join(names))
            else:
                self._screen.check(f"{zone.name}: {_USER} sees only herself", names == [_USER], ", ".join(names))

    def _catch_up(self) -> None:
        away = self.zones.slaves[1]
        master = self.zones.master
        self._screen.step(f"{away.name} stops, life goes on, {away.name} starts and catches up")
        self._screen.command(away.name, "kill -TERM (koinon server)")
        self._screen.check(f"{away.name} stopped cleanly", away.stop() == 0)
        caller = self.zones.caller(master)
        for number in range(_ABSENT_WRITES):
            caller.value("one.user.update", self._uid, f'VISITS="{number + 1}"', 1)
        late = caller.value("one.user.allocate", "bob", _PASSWORD, "")
        caller.close()
        goal = master.status()["position"]
        self._screen.say(f"   {master.name} made {_ABSENT_WRITES + 1} changes meanwhile and stands at {position(master.status())}")
        self._screen.command(away.name, f"koinon server --config {away.config}")
        away.start()
        first = away.status()["position"]
        wait_until(f"{away.name} catches up", lambda: away.status()["position"] >= goal, every_s=0.01)
        self._screen.say(f"   {away.name} answered first at index {first} and is at {away.status()['position']} now")
        self.zones.settled()
        self._show_positions()
        one = self.zones.client(away)
        visits = one.user.info(self._uid).TEMPLATE.get("VISITS")
        self._screen.check(
            f"{away.name} has the last change and the new user", visits == str(_ABSENT_WRITES) and one.user.info(late).NAME == "bob"
        )
        digests = {tuple(sorted(zone.status()["digests"].items())) for zone in self.zones.zones}
        self._screen.check("the digests of all shared tables are equal in all zones", len(digests) == 1)

    def _show_positions(self) -> None:
        statuses = [zone.status() for zone in self.zones.zones]
        self._screen.table(
            ("zone", "id", "role", "position", "lag", "state"),
            [(s["name"], s["zone_id"], s["role"], position(s), lag(s), s["state"]) for s in statuses],
        )

    def how_to_log_in(self) -> None:
        """Print addresses, passwords and a first command to try."""
        auth = self.zones.master.state_dir / "one_auth"
        self._screen.step("Now it is yours")
        self._screen.table(("zone", "ONE_XMLRPC", "settings"), [(zone.name, zone.endpoint, str(zone.config)) for zone in self.zones.zones])
        self._screen.say(
            f"   administrator: {self.zones.secret.partition(':')[0]}, password in {auth}; plain user: {_USER}, password {_PASSWORD}"
        )
        self._screen.say("   in another terminal, here, try:")
        self._screen.command("", f"export ONE_AUTH={auth} ONE_XMLRPC={self.zones.slaves[0].endpoint}")
        self._screen.command("", ".venv/bin/oneuser list")
        self._screen.command("", ".venv/bin/oneuser create carol Secret-1")
        self._screen.command("", f".venv/bin/koinon federation status --config {self.zones.master.config}")

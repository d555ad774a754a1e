"""From one zone to a federation and back, over real TLS."""

from __future__ import annotations

import asyncio
import datetime
from pathlib import Path
from typing import Any

import pytest

from koinon.database.transactions import SharedTx, ZoneTx
from koinon.errors import ActionError, BadArgumentError, InternalError, UnavailableError
from koinon.federation import invitation, reign, trust
from koinon.federation.invitation import InvitationError, Token
from koinon.federation.joining import ClashError, Joined
from koinon.federation.keys import KeyStore, certified_key, is_signed_by, raw_public_key, read_private_key
from koinon.federation.link import Link, LinkError, Refused
from koinon.federation.snapshot_staging import Superseded
from koinon.identity import zones
from tests.federation.members import Zone, master_at, run, user, zone_at

pytestmark = pytest.mark.engines


async def join(zone: Zone, master: Zone, *, replace: bool = False) -> Joined:
    invited = await master.membership.invite("branch", None)
    return await zone.joining(master).join(invited.token, replace=replace)


def trust_of(zone: Zone, zone_id: int) -> trust.ZoneTrust:
    with zone.database.read() as tx:
        found = trust.trust_of(tx, zone_id)
    assert found is not None
    return found


def test_init_makes_a_master_with_a_signed_reign_that_starts_at_its_head(tmp_path: Path) -> None:
    async def test() -> None:
        async with zone_at(tmp_path / "a") as zone:
            made = await zone.membership.init()
            state = zone.database.state()
            assert (state.role, state.zone_id, state.epoch, state.federation_id) == ("master", 0, 1, made.federation_id)
            with zone.database.read() as tx:
                record = reign.load_newest(tx)
            assert record is not None
            reign.verify(record, None)
            assert (record.start_index, record.start_chain) == (state.position, state.chain)
            recovery = read_private_key(Path(made.recovery_key_file))
            assert record.recovery_public_key == raw_public_key(recovery.public_key())
            assert record.ca_public_key == zone.store.authority().public_key
            own = trust_of(zone, 0)
            assert (own.trust, own.federation_endpoint) == ("ENROLLED", zone.address)
            assert own.key is not None
            assert raw_public_key(own.key) == certified_key(zone.store.certificate())
            await zone.database.write_shared("more", lambda tx: tx.insert("user_pool", user(7, "more")))
            assert zone.database.state().epoch == 1
            with pytest.raises(ActionError, match="already"):
                await zone.membership.init()

    run(test)


def test_a_zone_joins_with_one_line(tmp_path: Path) -> None:
    async def test() -> None:
        async with master_at(tmp_path / "a", user(2, "ann")) as master, zone_at(tmp_path / "b") as zone:
            joined = await join(zone, master)
            state = zone.database.state()
            assert (state.role, state.zone_id, state.epoch) == ("slave", 100, 1)
            assert (joined.zone_id, joined.federation_id) == (100, master.database.state().federation_id)
            assert state.head == master.database.state().head
            with zone.database.read() as tx:
                assert tx.named("user_pool", "ann") is not None
                assert reign.load_all(tx) != []
            record = trust_of(master, 100)
            assert (record.trust, record.federation_endpoint, record.name) == ("ENROLLED", zone.address, "branch")
            assert record.endpoint == "http://127.0.0.1:3633/RPC2"
            assert is_signed_by(zone.store.certificate(), master.store.authority().public_key)
            assert not (tmp_path / "b" / "one_auth").exists()
            assert joined.old_password_file == str(tmp_path / "b" / "one_auth.before-join")
            assert (tmp_path / "b" / "one_auth.before-join").read_text() == "oneadmin:own"
            # the two now speak in both directions, each proving itself
            await zone.listen()
            for link in (zone.links.master(), master.links.to(100)):
                assert (await link.request("GET", "/federation/v1/reign", timeout_s=60)).status == 200

    run(test)


def test_a_join_whose_reply_was_lost_is_repeated_with_the_same_line(tmp_path: Path) -> None:
    async def test() -> None:
        async with master_at(tmp_path / "a") as master, zone_at(tmp_path / "b") as zone, zone_at(tmp_path / "c") as thief:
            invited = await master.membership.invite("branch", "https://branch.example/RPC2")
            joining = zone.joining(master)
            load = joining._load_snapshot

            async def fail(*_: Any, **__: Any) -> Any:
                raise UnavailableError("the line broke")

            joining._load_snapshot = fail
            with pytest.raises(UnavailableError, match="broke"):
                await joining.join(invited.token)
            assert zone.database.state().role == "standalone"
            assert trust_of(master, 100).trust == "INVITED"
            assert (tmp_path / "b" / "one_auth").exists()
            with pytest.raises(ActionError, match="another key"):
                await thief.joining(master).join(invited.token)
            joining._load_snapshot = load
            assert (await joining.join(invited.token)).zone_id == 100
            assert trust_of(master, 100).endpoint == "https://branch.example/RPC2"
            # and once more after it has succeeded, as someone does who did not see the answer
            assert (await joining.join(invited.token)).zone_id == 100

    run(test)


def test_a_zone_with_users_of_its_own_is_refused_and_nothing_changes(tmp_path: Path) -> None:
    async def test() -> None:
        async with (
            master_at(tmp_path / "a", user(2, "ann")) as master,
            zone_at(tmp_path / "b", user(2, "bob"), user(3, "ann")) as zone,
        ):
            before = zone.database.state()
            with pytest.raises(ClashError) as refused:
                await join(zone, master)
            assert refused.value.clashes == [
                "user 2 'bob': the federation's user 2 is 'ann'",
                "user 3 'ann': the federation has a user of this name with id 2",
            ]
            after = zone.database.state()
            assert (after.role, after.head, after.federation_id) == ("standalone", before.head, "")
            with zone.database.read() as tx:
                assert [row.name for row in tx.rows("user_pool")] == ["oneadmin", "serveradmin", "bob", "ann"]
                assert reign.load_all(tx) == []
            assert (tmp_path / "b" / "one_auth").exists()

    run(test)


def test_a_zone_that_was_refused_is_shown_as_invited_and_may_come_after_all(tmp_path: Path) -> None:
    """With the same line, until it expires; nobody else with it."""

    async def test() -> None:
        async with (
            master_at(tmp_path / "a", user(2, "ann")) as master,
            zone_at(tmp_path / "b", user(2, "bob")) as zone,
            zone_at(tmp_path / "c") as thief,
        ):
            token = (await master.membership.invite("branch", None)).token
            with pytest.raises(ClashError):
                await zone.joining(master).join(token)
            record = trust_of(master, 100)
            assert (record.trust, record.key, record.instance, record.federation_endpoint) == ("INVITED", None, "", "-")
            with pytest.raises(ActionError, match="another key"):
                await thief.joining(master).join(token)
            assert trust_of(master, 100).trust == "INVITED"
            await zone.joining(master).join(token, replace=True)
            assert trust_of(master, 100).trust == "ENROLLED"

    run(test)


def test_of_two_who_join_with_one_line_at_two_processes_the_newer_comes_and_the_older_says_nothing_to_the_master(tmp_path: Path) -> None:
    async def test() -> None:
        async with master_at(tmp_path / "a") as master, zone_at(tmp_path / "b") as zone:
            token = (await master.membership.invite("branch", None)).token
            older, newer = zone.joining(master), zone.joining(master)
            loads, goes_on = asyncio.Event(), asyncio.Event()
            load = newer._load_snapshot

            async def slow(*given: Any, **named: Any) -> Any:
                loads.set()
                await goes_on.wait()
                return await load(*given, **named)

            async def overtaken(*_given: Any, **_named: Any) -> Any:
                joining.append(asyncio.create_task(newer.join(token)))
                await loads.wait()
                raise Superseded

            newer._load_snapshot = slow
            joining: list[asyncio.Task[Joined]] = []
            older._load_snapshot = overtaken
            with pytest.raises(ActionError, match="has begun to join since"):
                await older.join(token)
            assert trust_of(master, 100).trust == "ENROLLED"
            goes_on.set()
            assert (await joining[0]).zone_id == 100
            assert trust_of(master, 100).trust == "ENROLLED"
            assert zone.database.state().role == "slave"

    run(test)


def test_an_older_attempt_to_join_does_not_come_in_once_a_newer_one_has_begun(tmp_path: Path) -> None:
    """Else the newer one, should it fail, would tell the master that the zone does not come."""

    async def test() -> None:
        async with master_at(tmp_path / "a") as master, zone_at(tmp_path / "b") as zone:
            token = (await master.membership.invite("branch", None)).token
            older, newer = zone.joining(master), zone.joining(master)
            load, loads, ends = older._load_snapshot, asyncio.Event(), asyncio.Event()

            async def broken(*_given: Any, **_named: Any) -> Any:
                loads.set()
                await ends.wait()
                raise LinkError("it broke")

            async def late(*given: Any, **named: Any) -> Any:
                joining.append(asyncio.create_task(newer.join(token)))
                await loads.wait()
                return await load(*given, **named)

            newer._load_snapshot, older._load_snapshot = broken, late
            joining: list[asyncio.Task[Joined]] = []
            with pytest.raises(ActionError, match="has begun to join since"):
                await older.join(token)
            ends.set()
            with pytest.raises(UnavailableError, match="it broke"):
                await joining[0]
            assert (zone.database.state().role, trust_of(master, 100).trust) == ("standalone", "INVITED")
            assert (await zone.joining(master).join(token)).zone_id == 100

    run(test)


def test_a_zone_whose_invitation_was_withdrawn_meanwhile_is_shown_as_gone(tmp_path: Path) -> None:
    async def test() -> None:
        async with master_at(tmp_path / "a") as master, zone_at(tmp_path / "b") as zone:
            await join(zone, master)
            await master.database.write_zone("test", lambda tx: invitation.cancel(tx, 100))
            await master.membership.accept_withdrawal(100)
            assert trust_of(master, 100).trust == "LEFT"

    run(test)


def test_a_master_that_was_set_back_lets_no_zone_in_and_puts_one_out(tmp_path: Path) -> None:
    async def test() -> None:
        async with master_at(tmp_path / "a") as master, zone_at(tmp_path / "b") as zone, zone_at(tmp_path / "c") as late:
            await join(zone, master)
            token = (await master.membership.invite("late", None)).token
            head = master.database.state().head
            master.halted = "This master's database was set back: accept the loss (koinon federation accept-loss)."
            with pytest.raises(UnavailableError, match="accept-loss"):
                await master.membership.invite("later", None)
            with pytest.raises(UnavailableError, match=r"can't be used: .*accept-loss\)\.$"):
                await late.joining(master).join(token)
            with pytest.raises(UnavailableError, match=r"can't be told: .*accept-loss\)\. Nothing was changed; with --force"):
                await zone.membership.leave()
            with pytest.raises(Refused, match="accept-loss"):
                (await zone.links.master().request("POST", "/federation/v1/withdraw", timeout_s=60)).expect()
            assert master.database.state().head == head
            assert zone.database.state().role == "slave"
            await master.membership.revoke(100)
            assert trust_of(master, 100).trust == "REVOKED"
            await zone.membership.leave()  # it need not be told
            assert zone.database.state().role == "standalone"
            master.halted = None
            assert (await late.joining(master).join(token)).zone_id == 101

    run(test)


def test_a_master_that_cannot_be_told_does_not_hide_why_the_join_failed(tmp_path: Path) -> None:
    async def test() -> None:
        async with master_at(tmp_path / "a", user(2, "ann")) as master, zone_at(tmp_path / "b", user(2, "bob")) as zone:
            joining = zone.joining(master)
            load = joining._load_snapshot

            async def load_and_cut(link: Link, check: Any, also: Any, at_least: int) -> Any:
                try:
                    return await load(link, check, also, at_least)
                finally:
                    await master.membership.revoke(100)  # from here on our requests are refused

            joining._load_snapshot = load_and_cut
            token = (await master.membership.invite("branch", None)).token
            with pytest.raises(ClashError):
                await joining.join(token)
            assert trust_of(master, 100).trust == "REVOKED"

    run(test)


def test_a_plan_tells_what_would_be_lost_and_whose_things_would_be_and_changes_nothing(tmp_path: Path) -> None:
    async def test() -> None:
        async with (
            master_at(tmp_path / "a", user(2, "ann")) as master,
            zone_at(tmp_path / "b", user(2, "bob"), user(3, "cleo")) as zone,
        ):
            await zone.database.write_zone("documents", _documents)
            before = zone.database.state()
            token = (await master.membership.invite("branch", None)).token
            joining = zone.joining(master)
            for _ in range(2):  # as often as one likes
                plan = await joining.plan(token)
                assert (plan.zone_id, plan.federation_id) == (100, master.database.state().federation_id)
                assert plan.clashes == [
                    "user 2 'bob': the federation's user 2 is 'ann'",
                    "user 3 'cleo': it is only here and would be lost",
                ]
                assert plan.other_owners == [
                    "documents 7, 8 of user 2, which is 'bob' here and 'ann' in the federation",
                    "documents 9 of user 3, which is 'cleo' here and nobody in the federation",
                ]
                assert trust_of(master, 100).trust == "INVITED"
            assert zone.database.state().head == before.head
            assert zone.database.state().role == "standalone"
            assert not [file for file in (tmp_path / "b" / "federation").iterdir() if file.suffix == ".crt"]
            assert (await joining.join(token, replace=True)).other_owners == plan.other_owners
            with pytest.raises(ActionError, match="in a federation already"):
                await joining.plan(token)

    run(test)


def _documents(tx: ZoneTx) -> None:
    for oid, uid in ((6, 0), (7, 2), (8, 2), (9, 3)):
        tx.execute(
            "INSERT INTO document_pool (oid, name, body, type, uid, gid, owner_u, group_u, other_u) VALUES (?, ?, '', 0, ?, 1, 1, 0, 0)",
            (oid, f"document{oid}", uid),
        )


def test_replace_gives_up_what_the_zone_had(tmp_path: Path) -> None:
    async def test() -> None:
        async with master_at(tmp_path / "a", user(2, "ann")) as master, zone_at(tmp_path / "b", user(2, "bob")) as zone:
            await join(zone, master, replace=True)
            with zone.database.read() as tx:
                assert [row.name for row in tx.rows("user_pool")] == ["oneadmin", "serveradmin", "ann"]

    run(test)


def test_a_write_during_the_join_is_not_lost_in_silence(tmp_path: Path) -> None:
    async def test() -> None:
        async with master_at(tmp_path / "a") as master, zone_at(tmp_path / "b") as zone:
            invited = await master.membership.invite("branch", None)
            joining = zone.joining(master)
            load = joining._load_snapshot

            async def write_between(link: Link, check: Any, also: Any, at_least: int) -> Any:
                def check_then_write(rows: Any) -> list[str]:
                    found: list[str] = check(rows)
                    writing.append(
                        asyncio.ensure_future(zone.database.write_shared("late", lambda tx: tx.insert("user_pool", user(9, "late"))))
                    )
                    return found

                return await load(link, check_then_write, also, at_least)

            writing: list[asyncio.Future[Any]] = []
            joining._load_snapshot = write_between
            with pytest.raises(ActionError, match="join again"):
                await joining.join(invited.token)
            await asyncio.gather(*writing)
            with zone.database.read() as tx:
                assert tx.named("user_pool", "late") is not None
            assert zone.database.state().role == "standalone"

    run(test)


def test_a_false_master_is_found_out_before_it_hears_the_secret(tmp_path: Path) -> None:
    """Someone else's listener at the address of the invitation, and one with our address in a forged line."""

    async def test() -> None:
        async with (
            master_at(tmp_path / "a") as master,
            master_at(tmp_path / "evil") as evil,
            zone_at(tmp_path / "b") as zone,
        ):
            token = Token.parse((await master.membership.invite("branch", None)).token)
            misled = Token(token.federation_id, token.zone_id, token.master_zone, evil.address, token.ca_hash, token.secret)
            with pytest.raises(UnavailableError, match="CA is not the one"):
                await zone.joining(master).join(misled.text())
            # even with a CA that the invitation names, the certificate must be that of the master's number
            other = Token(token.federation_id, token.zone_id, 7, master.address, token.ca_hash, token.secret)
            with pytest.raises(UnavailableError, match="certificate"):
                await zone.joining(master).join(other.text())
            assert zone.database.state().role == "standalone"
            assert trust_of(master, 100).trust == "INVITED"

    run(test)


def test_a_wrong_line_is_refused_in_words(tmp_path: Path) -> None:
    async def test() -> None:
        async with master_at(tmp_path / "a") as master, zone_at(tmp_path / "b") as zone:
            token = Token.parse((await master.membership.invite("branch", None)).token)
            joining = zone.joining(master)
            with pytest.raises(BadArgumentError, match="not an invitation"):
                await joining.join("hello")
            wrong = Token(token.federation_id, token.zone_id, 0, token.endpoint, token.ca_hash, b"x" * 32)
            with pytest.raises(ActionError, match="no such invitation"):
                await joining.join(wrong.text())
            nowhere = Token(token.federation_id, token.zone_id, 0, "127.0.0.1:1", token.ca_hash, token.secret)
            with pytest.raises(UnavailableError, match="no connection"):
                await joining.join(nowhere.text())
            with pytest.raises(ActionError, match="already"):
                await master.joining(master).join(token.text())

    run(test)


def test_invite_makes_one_record_and_can_be_repeated_until_the_zone_is_in(tmp_path: Path) -> None:
    async def test() -> None:
        async with master_at(tmp_path / "a") as master, zone_at(tmp_path / "b") as zone:
            first = await master.membership.invite("branch", None)
            second = await master.membership.invite("branch", None)
            assert (first.zone_id, second.zone_id) == (100, 100)
            with pytest.raises(ActionError, match="no such invitation"):
                await zone.joining(master).join(first.token)
            await zone.joining(master).join(second.token)
            with pytest.raises(ActionError, match="enrolled already"):
                await master.membership.invite("branch", None)
            with pytest.raises(ActionError, match="enrolled already"):
                await master.membership.invite("OpenNebula", None)
            with pytest.raises(InternalError):
                await master.membership.invite("a&b", None)
            with pytest.raises(BadArgumentError):
                await master.membership.invite("other", "not an address")
            with pytest.raises(ActionError, match="not the master"):
                await zone.membership.invite("x", None)

    run(test)


def test_a_slave_leaves_and_can_come_back(tmp_path: Path) -> None:
    async def test() -> None:
        async with master_at(tmp_path / "a", user(2, "ann")) as master, zone_at(tmp_path / "b") as zone:
            await join(zone, master)
            with pytest.raises(ActionError, match=r"still enrolled: 100 \(branch\)"):
                await master.membership.leave()
            link = zone.links.master()
            old_key = trust_of(master, 100).key
            await zone.membership.leave()
            state = zone.database.state()
            assert (state.role, state.federation_id, state.epoch) == ("standalone", "", 1)
            assert list((tmp_path / "b" / "federation").iterdir()) == []
            assert trust_of(master, 100).trust == "LEFT"
            with zone.database.read() as tx:
                assert tx.named("user_pool", "ann") is not None
                assert reign.load_all(tx) == []
            with pytest.raises((Refused, LinkError)):
                await link.request("GET", "/federation/v1/reign", timeout_s=60)
            # its rows are those of the federation, so it loses nothing by coming back
            await master.database.write_shared("more", lambda tx: tx.insert("user_pool", user(3, "new")))
            assert (await join(zone, master)).zone_id == 100
            assert trust_of(master, 100).key != old_key
            await zone.membership.leave()
            await master.membership.leave()
            assert master.database.state().role == "standalone"
            assert (await master.membership.init()).federation_id
            assert master.database.state().epoch == 2

    run(test)


def test_leaving_needs_the_master_or_force(tmp_path: Path) -> None:
    async def test() -> None:
        async with zone_at(tmp_path / "b") as zone:
            async with master_at(tmp_path / "a") as master:
                await join(zone, master)
            with pytest.raises(UnavailableError, match="--force"):
                await zone.membership.leave()
            assert zone.database.state().role == "slave"
            assert zone.store.certificate_file.exists()
            await zone.membership.leave(force=True)
            assert zone.database.state().role == "standalone"

    run(test)


def test_a_revoked_zone_is_refused_at_once_and_may_leave(tmp_path: Path) -> None:
    async def test() -> None:
        async with master_at(tmp_path / "a") as master, zone_at(tmp_path / "b") as zone:
            invited = await master.membership.invite("branch", None)
            await zone.joining(master).join(invited.token)
            await master.membership.revoke(100)
            with pytest.raises(Refused) as refused:
                await zone.links.master().request("GET", "/federation/v1/reign", timeout_s=60)
            assert (refused.value.status, refused.value.reason) == (403, "revoked")
            with master.database.read() as tx:
                assert trust.trusted_key(tx, 100) is None
            await zone.membership.leave()
            with pytest.raises(ActionError, match="not invited"):
                await zone.joining(master).join(invited.token)

    run(test)


def test_a_deleted_zone_is_unknown(tmp_path: Path) -> None:
    async def test() -> None:
        async with master_at(tmp_path / "a") as master, zone_at(tmp_path / "b") as zone:
            await join(zone, master)
            await master.database.write_shared("delete", lambda tx: tx.delete("zone_pool", 100))
            with pytest.raises(Refused) as refused:
                await zone.links.master().request("GET", "/federation/v1/reign", timeout_s=60)
            assert refused.value.reason == "unknown zone"

    run(test)


def test_a_copy_of_a_zone_that_joined_again_is_told_apart(tmp_path: Path) -> None:
    async def test() -> None:
        async with master_at(tmp_path / "a") as master, zone_at(tmp_path / "b") as zone:
            await join(zone, master)

            def another_instance(tx: SharedTx) -> None:
                zones.set_attributes(tx, 100, {"INSTANCE": "0" * 32})

            await master.database.write_shared("as if the zone had joined from another database", another_instance)
            with pytest.raises(Refused) as refused:
                await zone.links.master().request("GET", "/federation/v1/reign", timeout_s=60)
            assert refused.value.reason == "cloned"

    run(test)


def test_certificates_are_renewed_in_place(tmp_path: Path) -> None:
    async def test() -> None:
        async with master_at(tmp_path / "a") as master, zone_at(tmp_path / "b") as zone:
            await join(zone, master)
            await zone.listen()
            later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=61)
            for own, link in ((zone, master.links.to(100)), (master, zone.links.master())):
                before = own.store.certificate()
                assert not await own.membership.renew_if_due()
                assert await own.membership.renew_if_due(later)
                after = KeyStore(own.state_dir).certificate()
                assert after.serial_number != before.serial_number
                assert certified_key(after) == certified_key(before)
                assert (await link.request("GET", "/federation/v1/reign", timeout_s=60)).status == 200

    run(test)


def test_an_invitation_error_is_an_action_error() -> None:
    """The admin socket shows it as it is: 409 with the text."""
    assert InvitationError("x").status == 409

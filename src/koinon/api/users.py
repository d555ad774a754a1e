"""Who does what the rows about users promise."""

from __future__ import annotations

import secrets
from functools import partial
from typing import Any

from koinon import clock
from koinon.api.bindings import Bindings, Services
from koinon.database.transactions import SharedTx
from koinon.identity import login_tokens, user_documents, users
from koinon.policy.caller import Caller


def bind(bindings: Bindings, services: Services) -> None:
    """Bind every row about users."""
    scheme = services.settings.login.password_hash

    async def hash_new(caller: Caller, name: str, password: str, driver: str, group_ids: list[int]) -> tuple[Any, ...]:
        with services.database.read() as tx:
            users.require_create(tx, caller, group_ids)
        verifier = await users.new_verifier(services.hasher, password, driver, scheme, creating=True)
        return name, verifier, driver, group_ids, secrets.token_hex(32)

    def create(tx: SharedTx, caller: Caller, name: str, verifier: str, driver: str, group_ids: list[int], token_password: str) -> int:
        return users.create(tx, caller, name, verifier, driver, group_ids, token_password=token_password)

    async def hash_changed(caller: Caller, oid: int, password: str) -> tuple[Any, ...]:
        with services.database.read() as tx:
            driver = users.driver_of(tx, caller, oid)
        return oid, await users.new_verifier(services.hasher, password, driver, scheme), driver

    def set_verifier(tx: SharedTx, caller: Caller, oid: int, verifier: str, driver: str) -> int:
        return users.set_verifier(tx, caller, oid, verifier, driver=driver)

    async def hash_if_given(caller: Caller, oid: int, driver: str, password: str) -> tuple[Any, ...]:
        with services.database.read() as tx:
            users.require_driver_change(tx, caller, oid)
        return oid, driver, await users.new_verifier(services.hasher, password, driver, scheme) if password else ""

    async def generate(_caller: Caller, name: str, token: str, valid_s: int, egid: int) -> tuple[Any, ...]:
        return name, token, valid_s, egid, secrets.token_hex(32), clock.now_s()

    def request_token(tx: SharedTx, caller: Caller, name: str, token: str, valid_s: int, egid: int, generated: str, now: int) -> str:
        cap = services.settings.login.max_token_s
        return login_tokens.request(tx, caller, name, token, valid_s, egid, generated=generated, now=now, max_token_s=cap)

    bindings.bind("one.user.allocate", create, prepare=hash_new)
    bindings.bind("one.user.delete", users.delete)
    bindings.bind("one.user.info", lambda tx, caller, oid, _decrypt: user_documents.show(tx, caller, oid))
    bindings.bind("one.user.update", users.update)
    bindings.bind("one.user.passwd", set_verifier, prepare=hash_changed)
    bindings.bind("one.user.chauth", users.change_driver, prepare=hash_if_given)
    bindings.bind("one.user.enable", users.set_enabled)
    bindings.bind("one.user.chgrp", users.change_primary_group)
    bindings.bind("one.user.addgroup", users.add_group)
    bindings.bind("one.user.delgroup", users.del_group)
    bindings.bind("one.user.login", request_token, prepare=generate)
    bindings.bind("one.userpool.info", partial(user_documents.pool_document, ascending=services.ascending))

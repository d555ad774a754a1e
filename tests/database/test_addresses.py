"""Addresses that name several hosts: the first one that can be used is."""

from __future__ import annotations

import os

import pytest

from harness import engines, processes
from koinon.database.dialects import choose
from koinon.errors import UnavailableError


@pytest.fixture(scope="module")
def mariadb() -> engines.Server:
    try:
        return engines.server("mariadb")
    except engines.Missing as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))


def test_mariadb_takes_the_first_host_that_answers(mariadb: engines.Server) -> None:
    silent = processes.free_port()
    dialect = choose(f"mysql://root@127.0.0.1:{silent},127.0.0.1:{mariadb.port}/mysql")
    for connect in (dialect.connect, dialect.reader, dialect.writer):
        session = connect()
        assert session.execute("SELECT @@port").fetchone()[0] == mariadb.port
        session.close()
    dialect.migrator().close()


def test_mariadb_tells_of_the_last_host_when_none_answers(mariadb: engines.Server) -> None:
    silent = processes.free_port()
    dialect = choose(f"mysql://root@127.0.0.1:{silent},[::1]:{silent}/mysql")
    with pytest.raises(dialect.driver_error) as caught:
        dialect.connect()
    assert "can't be reached" in dialect.explain(caught.value)
    assert "::1" in dialect.explain(caught.value)


@pytest.mark.parametrize("hosts", ["one:port", "one:1,two:99999"])
def test_a_host_that_is_none_is_refused(hosts: str) -> None:
    with pytest.raises(UnavailableError, match="no host and port"):
        choose(f"mysql://root@{hosts}/mysql")

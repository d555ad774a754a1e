"""The shapes that code reads and writes rows with, against the tables as they are declared."""

from __future__ import annotations

from typing import Any

import pytest

from koinon.database.local_pools import LocalPool
from koinon.database.tables import metadata
from koinon.infrastructure import cluster_record, document_record, host_record


@pytest.mark.parametrize("pool", [cluster_record.POOL, host_record.POOL, document_record.POOL], ids=lambda pool: pool.table)
def test_a_row_has_every_column_of_its_table_and_no_other(pool: LocalPool[Any]) -> None:
    assert set(pool.columns) == set(metadata.tables[pool.table].columns.keys())
    assert pool.columns[0] == "oid"  # what updates find a row by

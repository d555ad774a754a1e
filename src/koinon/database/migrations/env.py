"""Run by Alembic: one connection, one transaction for all steps."""

from __future__ import annotations

from alembic import context

from koinon.database.tables import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True, transactional_ddl=True
)
with context.begin_transaction():
    context.run_migrations()

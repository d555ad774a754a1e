"""Run by Alembic: one connection, one transaction for all steps."""

from __future__ import annotations

from alembic import context
from sqlalchemy import create_engine

from koinon.database.tables import metadata

engine = create_engine(context.config.get_main_option("sqlalchemy.url") or "")
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True, transactional_ddl=True)
    with context.begin_transaction():
        context.run_migrations()
engine.dispose()

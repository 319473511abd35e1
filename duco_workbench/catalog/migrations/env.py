"""Run by alembic; the connection comes from ``duco_workbench.catalog.engine.migrate``."""

from alembic import context

from duco_workbench.catalog.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite alters a table by copying it
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()

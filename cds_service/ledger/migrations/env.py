"""Runs the migrations on the connection that ``cds_service.ledger.migrating`` hands over."""

from alembic import context

from cds_service.ledger.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
with context.begin_transaction():
    context.run_migrations()

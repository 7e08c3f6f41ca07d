"""The first tables: calls, cards, feedback and snoozes."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_COUNTED = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "call",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("hook_instance", sa.String(36)),
        sa.Column("client", sa.String(64), nullable=False),
        sa.Column("service", sa.String(64), nullable=False),
        sa.Column("role", sa.String(64)),
        sa.Column("received_at", sa.BigInteger, nullable=False),
        sa.Column("patient", sa.String(64)),
        sa.Column("outcome", sa.String(32), nullable=False),
        sa.Column("http_status", sa.SmallInteger, nullable=False),
        sa.Column("error", sa.String(64)),
        sa.Column("is_silent", sa.Boolean, nullable=False),
        sa.Column("knowledge_version", sa.String(64), nullable=False),
        sa.Column("knowledge_digest", sa.String(64), nullable=False),
        sa.Column("total_ms", sa.Float, nullable=False),
        sa.Column("steps_ms", sa.Text, nullable=False),
        sa.Column("unread", sa.Text),
        sa.Column("set_aside", sa.Text),
        sa.Column("unmapped", sa.Text),
        sa.Column("faulty_rules", sa.Text),
        sa.Column("reasoning", sa.Text),
    )
    op.create_index("call_received_at", "call", ["received_at"])
    op.create_index("call_hook_instance", "call", ["hook_instance"])
    op.create_table(
        "showing",
        sa.Column("call_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("card", sa.String(32), primary_key=True),
        sa.Column("card_uuid", sa.String(36), nullable=False),
        sa.Column("indicator", sa.String(16), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("why", sa.String(32)),
        sa.Column("operation", sa.String(64)),
        sa.Column("suggestions", sa.Text),
    )
    op.create_index("showing_card_uuid", "showing", ["card_uuid"])
    op.create_table(
        "feedback",
        sa.Column("id", _COUNTED, primary_key=True),
        sa.Column("digest", sa.String(64), nullable=False, unique=True),
        sa.Column("client", sa.String(64), nullable=False),
        sa.Column("card_uuid", sa.String(256), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("acted_at", sa.BigInteger, nullable=False),
        sa.Column("received_at", sa.BigInteger, nullable=False),
        sa.Column("reason_system", sa.String(1024)),
        sa.Column("reason_code", sa.String(256)),
        sa.Column("reason", sa.String(64)),
        sa.Column("accepted", sa.Text),
        sa.Column("comment", sa.Text),
        sa.Column("call_id", sa.BigInteger),
        sa.Column("card", sa.String(32)),
        sa.Column("is_superseded", sa.Boolean, nullable=False),
    )
    op.create_index("feedback_card_uuid", "feedback", ["card_uuid"])
    op.create_index("feedback_received_at", "feedback", ["received_at"])
    op.create_table(
        "snooze",
        sa.Column("id", _COUNTED, primary_key=True),
        sa.Column("client", sa.String(64), nullable=False),
        sa.Column("patient", sa.String(64), nullable=False),
        sa.Column("card", sa.String(32), nullable=False),
        sa.Column("scope", sa.String(16), nullable=False),
        sa.Column("scope_key", sa.String(64), nullable=False),
        sa.Column("until", sa.Date, nullable=False),
        sa.Column("reason", sa.String(64), nullable=False),
        sa.Column("feedback_id", sa.BigInteger, nullable=False),
    )
    op.create_index("snooze_patient", "snooze", ["patient"])
    op.create_index("snooze_until", "snooze", ["until"])

"""An index for the answers to one showing; without it each answer looked through all others."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the index."""
    op.create_index("feedback_call_id", "feedback", ["call_id"])

"""Scores that answers are given after the fact."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the column."""
    op.add_column("tryage_entries", sa.Column("score", sa.Double))

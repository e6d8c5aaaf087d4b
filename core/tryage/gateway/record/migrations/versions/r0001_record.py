"""The record of requests."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the table of entries."""
    op.create_table(
        "tryage_entries",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("asked", sa.Text, nullable=False),
        sa.Column("flags", sa.Text, nullable=False),
        sa.Column("stream", sa.Boolean, nullable=False),
        sa.Column("key", sa.Text),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("model", sa.Text),
        sa.Column("decision", sa.JSON, nullable=False),
        sa.Column("tries", sa.JSON, nullable=False),
        sa.Column("decision_s", sa.Double, nullable=False),
        sa.Column("first_token_s", sa.Double),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("input_tokens", sa.BigInteger),
        sa.Column("output_tokens", sa.BigInteger),
        sa.Column("cost_usd", sa.Double),
        sa.Column("prompt", sa.Text),
        sa.Column("response", sa.Text),
        sa.Column("traceparent", sa.Text),
    )
    op.create_index("ix_tryage_entries_time", "tryage_entries", ["time"])

"""Tokens of the prompt that the upstream's cache held."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column."""
    op.add_column("tryage_entries", sa.Column("cached_input_tokens", sa.BigInteger))

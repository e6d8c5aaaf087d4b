"""The record: what every request came to, in SQLite or PostgreSQL."""

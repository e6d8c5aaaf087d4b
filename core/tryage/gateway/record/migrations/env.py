"""What alembic runs a revision in: the connection that `migrate` has opened and locked."""

from alembic import context

if __name__ == "env_py":  # as alembic calls it; any other importer only wants to look
    context.configure(
        connection=context.config.attributes["connection"], version_table="tryage_version"
    )
    context.run_migrations()

"""The database servers of this host for trials, from its settings and nowhere else."""

from __future__ import annotations

from django.conf import settings

from workers.engine.databases.base import DatabaseSpec


def scratch_servers() -> tuple[DatabaseSpec, ...]:
    """Return the servers into which this host loads backups for trial: specs without a name."""
    return tuple(
        DatabaseSpec(
            engine=server.engine,
            name="",
            host=server.host,
            port=server.port,
            socket=server.socket,
            user=server.user,
            password=server.password,
        )
        for server in settings.HOLDFAST_SCRATCH_DATABASES
    )

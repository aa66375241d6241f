"""Whether this host can work with the settings that it got, before they are kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseError
from django.db import connections
from django.db.migrations.executor import MigrationExecutor
from django.db.utils import ConnectionHandler
from django.utils.module_loading import import_string
from kombu import Connection
from kombu.exceptions import OperationalError

from backups.broker_tls import tls_options
from backups.models import Node

RECEIVED = "received"


def problems_with(variables: Mapping[str, str], node: str, roots: Sequence[str]) -> list[str]:
    """Return a sentence for each thing that would keep a worker of the node from its work.

    Raises `ImproperlyConfigured` for variables that no process would start with.
    """
    read: Callable[[Mapping[str, str]], Any] = import_string(settings.HOLDFAST_ENVIRONMENT_READER)
    environment = read(variables)
    return [
        *_of_database(environment.database, node),
        *_of_broker(environment.broker_url, environment.broker_ca_file),
        *_of_roots(roots),
        *_of_spool(environment.spool_directory),
    ]


def _of_database(config: dict[str, Any], node: str) -> Iterator[str]:
    # This process's own database may be another one, or none: the received one has another name.
    connections.settings[RECEIVED] = ConnectionHandler({"default": config}).settings["default"]
    try:
        connections[RECEIVED]
    except ImproperlyConfigured:
        del connections.settings[RECEIVED]
        kind = config["ENGINE"].rpartition(".")[2]
        yield (
            f"The driver of the panel's database is not installed here: "
            f"pip install --require-hashes --no-deps -r requirements/{kind}.txt"
        )
        return
    try:
        yield from _of_schema(node)
    except DatabaseError as error:
        # Drivers add a number, and some a hint on lines of its own.
        said = " ".join(str(error.args[-1] if error.args else error).split())
        yield f"The panel's database cannot be used from here: {said}"
    finally:
        connections[RECEIVED].close()
        del connections[RECEIVED], connections.settings[RECEIVED]


def _of_schema(node: str) -> Iterator[str]:
    executor = MigrationExecutor(connections[RECEIVED])
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        yield (
            "The panel's database is older than this host's Holdfast: install the same version on "
            "both, and run manage.py migrate on the panel."
        )
        return
    ours = {key for key in executor.loader.applied_migrations if key[0] == Node._meta.app_label}
    if not ours <= executor.loader.disk_migrations.keys():
        yield "The panel's database is newer than this host's Holdfast: install the same version."
    elif not Node.objects.using(RECEIVED).filter(name=node).exists():
        yield (
            f"The database that nodes are given knows no node {node}: on the panel, "
            "HOLDFAST_NODE_DATABASE_URL names another one than HOLDFAST_DATABASE_URL."
        )


def _of_broker(url: str, ca_file: str) -> Iterator[str]:
    options = settings.CELERY_BROKER_TRANSPORT_OPTIONS
    try:
        tls = tls_options(url, ca_file)
        with Connection(url, transport_options=options, ssl=tls) as connection:
            connection.ensure_connection(max_retries=1, interval_start=0)
    except OperationalError as error:
        yield f"The broker cannot be used from here: {error}"


def _of_roots(roots: Sequence[str]) -> Iterator[str]:
    for root in roots:
        if not _is_folder(Path(root)):
            yield f"{root} is no folder of this host, but the node's sites are to lie below it."
        elif not os.access(root, os.R_OK | os.X_OK):
            yield f"{root}, with the node's sites, cannot be read by this user."


def _of_spool(spool: Path) -> Iterator[str]:
    """Look without making it: the worker may be another user, whose it has to be."""
    existing = next(folder for folder in (spool, *spool.parents) if os.access(folder, os.F_OK))
    if not _is_folder(existing) or not os.access(existing, os.W_OK | os.X_OK):
        yield (
            f"The spool {spool} cannot be made or written to by this user: set "
            "HOLDFAST_SPOOL_DIRECTORY to another folder."
        )


def _is_folder(path: Path) -> bool:
    """Return whether there is a folder, as far as this user can see."""
    return os.access(path, os.F_OK) and path.is_dir()

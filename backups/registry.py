"""What exists: pipelines and their stages, database engines, stores. One line each.

A dotted path is imported when its thing is needed, so that the domain names the workers' code
without importing it. To add a stage, an engine or a store is one new file and one line here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from backups.states import JobKind


@dataclass(frozen=True, slots=True)
class StageKind:
    """One stage: its name (also file name and task suffix), a label, and where its code is.

    A stage that writes nothing to the spool has no folder there, so that a full disk cannot keep
    it from storing a bundle or from making room.
    """

    name: str
    label: str
    path: str
    has_folder: bool = True

    @property
    def task_name(self) -> str:
        """The Celery task that runs this stage."""
        return f"stage.{self.name}"

    def load(self) -> Callable[..., Any]:
        """Import and return the stage's `run` function."""
        return _load(self.path)


_STAGES = (
    StageKind("backup_db", "Dump the database", "workers.stages.backup_db:run"),
    StageKind("backup_files", "Read the files", "workers.stages.backup_files:run"),
    StageKind("create_bundle", "Seal the bundle", "workers.stages.create_bundle:run"),
    StageKind("upload_remote", "Store the bundle", "workers.stages.upload_remote:run", False),
    StageKind("cleanup", "Clean up", "workers.stages.cleanup:run", False),
    StageKind("fetch_bundle", "Fetch the bundle", "workers.stages.fetch_bundle:run"),
    StageKind("verify_bundle", "Check the bundle", "workers.stages.verify_bundle:run"),
    StageKind("restore_files", "Restore the files", "workers.stages.restore_files:run"),
    StageKind("restore_db", "Restore the database", "workers.stages.restore_db:run"),
    StageKind("prove_restore", "Restore and compare", "workers.stages.prove_restore:run"),
)
STAGES: dict[str, StageKind] = {stage.name: stage for stage in _STAGES}
PIPELINES: dict[JobKind, tuple[str, ...]] = {
    JobKind.BACKUP: ("backup_db", "backup_files", "create_bundle", "upload_remote", "cleanup"),
    JobKind.RESTORE: ("fetch_bundle", "verify_bundle", "restore_files", "restore_db", "cleanup"),
    JobKind.VERIFY: ("fetch_bundle", "verify_bundle", "prove_restore", "cleanup"),
}

# Of a backup: what the wire contract names. Jobs of other kinds have others.
STAGE_NAMES = list(PIPELINES[JobKind.BACKUP])

# Key → label; "" reads the site's wp-config.php at each backup, so that a new password there
# needs no change here.
DATABASE_ENGINES: dict[str, str] = {
    "": "As wp-config.php says",
    "mysql": "MySQL or MariaDB",
    "postgresql": "PostgreSQL",
    "sqlite": "SQLite",
    "none": "No database",
}

# Their `db_name` is the path of a file on the node, which must lie below its roots as sites do.
FILE_ENGINES = frozenset({"sqlite"})

STORES: dict[str, str] = {"s3": "S3 or compatible", "local": "Folder on the node"}
STORE_CHOICES = list(STORES.items())
# Kinds whose bundles only the host that wrote them can reach.
NODE_BOUND_STORES = frozenset({"local"})
# The parts of a bundle's address before its key, from the configuration; empty ones fall away.
STORE_ADDRESSES: dict[str, tuple[str, ...]] = {
    "s3": ("s3://{bucket}", "{prefix}"),
    "local": ("{path}",),
}
STORE_OPENER = "workers.engine.stores:open_store"
BUNDLE_READER = "workers.engine.bundle:BundleReader"
PLAIN_SOURCE = "workers.engine.age:plain_source"
BUNDLE_RECORD = "workers.stages.recorded:recorded"
STORE_FIELDS = "workers.engine.stores:config_fields"
RECIPIENTS_CHECK = "workers.engine.age:checked_recipients"
ENGINE_ERROR = "workers.engine.errors:EngineError"

# What a node answers at once when it is asked: task name → where its code is.
QUERIES: dict[str, str] = {
    "scan": "workers.answers:scan",
    "inspect_site": "workers.answers:inspect_site",
    "test_storage": "workers.answers:test_storage",
    "delete_object": "workers.answers:delete_object",
    "list_bundle": "workers.answers:list_bundle",
    "list_tables": "workers.answers:list_tables",
    "work_state": "workers.answers:work_state",
    "prune_objects": "workers.keeping:prune_objects",
    "check_objects": "workers.keeping:check_objects",
    "list_objects": "workers.keeping:list_objects",
}


def stages_of(kind: str) -> tuple[StageKind, ...]:
    """Return the stages of a kind of job, in order."""
    return tuple(STAGES[name] for name in PIPELINES[JobKind(kind)])


def open_store(kind: str, config: dict[str, Any]) -> Any:  # noqa: ANN401
    """Return the store of that kind; raises its `EngineError` for an unusable configuration."""
    return _load(STORE_OPENER)(kind, config)


def open_bundle(source: Any, identity_file: Path | None, *, is_encrypted: bool) -> Any:  # noqa: ANN401
    """Return what gives access to single members of a bundle, from a store's `open`.

    Raises the engine's error for one that is encrypted if the keys in the file do not open it.
    """
    plain = _load(PLAIN_SOURCE)(source, identity_file, is_encrypted=is_encrypted)
    return _load(BUNDLE_READER)(plain)


def recorded_in(
    source: Any,  # noqa: ANN401
    *,
    is_encrypted: bool,
    identity_file: Path | None,
) -> dict[str, Any] | None:
    """Return what a stored bundle says of itself; None where no key at hand opens it.

    Raises the engine's error for a bundle that is damaged.
    """
    said: dict[str, Any] | None = _load(BUNDLE_RECORD)(
        source, is_encrypted=is_encrypted, identity_file=identity_file
    )
    return said


def address_of(kind: str, config: dict[str, Any], key: str) -> str:
    """Return where an object is, as a person would write it: `s3://bucket/prefix/key`, a path."""
    values = defaultdict(str, config)
    parts = (part.format_map(values).rstrip("/") for part in STORE_ADDRESSES[kind])
    return "/".join([part for part in parts if part] + [key])


def store_secrets(kind: str) -> frozenset[str]:
    """Return the names of the fields of that kind of store that must be kept secret."""
    return frozenset(field.name for field in _load(STORE_FIELDS)(kind) if field.secret)


def checked_recipients(recipients: Sequence[str]) -> list[str]:
    """Return public keys as they are kept; raises the engine's error for what is none."""
    return list(_load(RECIPIENTS_CHECK)(recipients))


def engine_error_class() -> type[Exception]:
    """Return what the engine raises: it has `message`, `hint`, `permanent` and `code`."""
    loaded: Any = _load(ENGINE_ERROR)
    error_class: type[Exception] = loaded
    return error_class


def query_task_name(query: str) -> str:
    """Return the name of the Celery task that answers `query` on a node."""
    return f"node.{query}"


def load_query(query: str) -> Callable[..., Any]:
    """Import and return the function that answers `query`."""
    return _load(QUERIES[query])


def job_kind_choices() -> list[tuple[str, str]]:
    """Return the kinds for a model field: as a callable, a new kind needs no migration."""
    return [(kind.value, kind.value.title()) for kind in PIPELINES]


def store_choices() -> list[tuple[str, str]]:
    """Return the kinds of store for a model field."""
    return STORE_CHOICES


def database_engine_choices() -> list[tuple[str, str]]:
    """Return the database engines for a model field."""
    return list(DATABASE_ENGINES.items())


def _load(path: str) -> Callable[..., Any]:
    module, _, name = path.partition(":")
    loaded: Callable[..., Any] = getattr(import_module(module), name)
    return loaded

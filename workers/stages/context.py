"""What a stage is given and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workers.engine.databases.base import DatabaseSpec
from workers.engine.errors import EngineError
from workers.engine.progress import Reporter
from workers.engine.stores import open_store
from workers.engine.stores.base import Store
from workers.engine.throttle import Throttle

Outputs = Mapping[str, Any]


class WorkMissing(EngineError):
    """What an earlier stage left in the spool is gone: the job must begin again."""

    code = "work_missing"


@dataclass(frozen=True, slots=True)
class SiteSpec:
    """The site as the panel knows it.

    `database` is None when wp-config.php is to be read; `has_database` is False for sites that
    have none. `excludes` is None for the defaults. `settings` stands in the manifest, so that the
    site can be set up again from its bundles alone: it holds no credentials.
    """

    uuid: str
    name: str
    path: Path
    allowed_roots: tuple[str, ...]
    wp_config_path: Path | None = None
    database: DatabaseSpec | None = None
    has_database: bool = True
    url: str = ""
    excludes: tuple[str, ...] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoreSpec:
    """The storage that the bundle goes to, and what it was seen to support.

    Bundles are encrypted to its `recipients`, the public keys; plain if there are none.
    """

    kind: str
    config: Mapping[str, Any] = field(repr=False)
    capabilities: Mapping[str, Any] | None = None
    recipients: tuple[str, ...] = ()

    def open(self, throttle: Throttle | None = None) -> Store:
        """Return the store, which sends as fast as `throttle` allows; makes no request."""
        return open_store(self.kind, self.config, self.capabilities, throttle)


@dataclass(frozen=True, slots=True)
class BundleSpec:
    """The stored bundle that is restored or proven, as the catalogue knows it.

    `site` is the UUID of the site that it was made of, `site_url` that site's address. `size` and
    `sha256` are those of the object, which is encrypted unless `encrypted_to` is empty.
    `manifest_sha256` is what the whole hangs on where only parts are read; empty where backups of
    that time did not note it.
    """

    key: str
    size: int
    sha256: str
    site: str
    site_url: str = ""
    is_encrypted: bool = False
    encrypted_to: tuple[str, ...] = ()
    manifest_sha256: str = ""


@dataclass(frozen=True, slots=True)
class StageContext:
    """Everything that one attempt at one stage may use.

    `directory` is this attempt's own folder below `job_directory`; its name holds epoch and
    token, so an attempt that was given up can never write where another one reads. `inputs` maps
    the names of finished stages to their outputs. `checkpoint` is what an earlier attempt at this
    stage saved. `reserve_object_key` gives each caller a key that nobody else has.
    `expected_bytes` is what the job may need in the spool, 0 while unknown; `reserve_bytes` what
    must stay free there when a job begins; `throttle` is how fast the node may upload.
    `identity_file` holds the keys that open encrypted bundles, where this node has any.
    `parameters` is what was asked for and `bundle` what of, in a restore and a proof.
    `scratch_servers` are this node's database servers for trials, specs without a name; where the
    job `is_elsewhere`, on another node than the site's, they are all that it may use.
    """

    job_id: str
    epoch: int
    token: str
    started_at: str
    node: str
    site: SiteSpec
    store: StoreSpec
    job_directory: Path
    directory: Path
    inputs: Mapping[str, Outputs]
    checkpoint: Mapping[str, Any]
    previous_facts: Mapping[str, Any] | None
    reporter: Reporter
    save_checkpoint: Callable[[Mapping[str, Any]], None]
    reserve_object_key: Callable[[], str]
    expected_bytes: int = 0
    reserve_bytes: int = 0
    parameters: Mapping[str, Any] = field(default_factory=dict)
    bundle: BundleSpec | None = None
    throttle: Throttle | None = None
    identity_file: Path | None = None
    scratch_servers: tuple[DatabaseSpec, ...] = ()
    is_elsewhere: bool = False

    def folder_of(self, stage: str) -> Path | None:
        """Return the folder that a finished stage left, None if it left none on purpose.

        Raises `WorkMissing` if it should be there and is not.
        """
        name = self.inputs[stage].get("directory")
        if not name:
            return None
        folder: Path = self.job_directory / name
        if not (folder / "segment").is_file():
            raise WorkMissing(
                f"The work of {stage} is no longer in the spool ({folder})",
                hint="Something removed it, or the disk was replaced; the job begins again.",
            )
        return folder


@dataclass(frozen=True, slots=True)
class StageResult:
    """What a stage leaves: JSON for later stages, one line for a person, warnings."""

    outputs: Outputs
    detail: str
    warnings: tuple[str, ...] = ()


def megabytes(size: int) -> str:
    """Return a size as people read it in this product: `2048.5 MB`, of 1,048,576 bytes each."""
    return f"{size / 1_048_576:.1f} MB"

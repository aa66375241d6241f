"""Places for bundles: the registry of their kinds, and the one way to open a store."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from workers.engine.stores.base import Store
from workers.engine.stores.config import ConfigField, ConfigInvalid
from workers.engine.throttle import Throttle


@dataclass(frozen=True, slots=True)
class StoreKind:
    """One kind of store. `module` has `CONFIG_FIELDS` and `open_store`; loaded when needed."""

    label: str
    module: str


STORE_KINDS: Mapping[str, StoreKind] = {
    "local": StoreKind("Local folder", "workers.engine.stores.local"),
    "s3": StoreKind("S3 and compatible services", "workers.engine.stores.s3"),
}


def open_store(
    kind: str,
    config: Mapping[str, Any],
    capabilities: Mapping[str, Any] | None = None,
    throttle: Throttle | None = None,
) -> Store:
    """Return the store of `kind` for `config`; makes no request and touches no file.

    `capabilities` is what `Store.probe` saw (its `dataclasses.asdict`), as kept with the storage:
    it decides how uploads are verified. Without it only what proves itself is relied on.
    `throttle` says how fast `put` may send.
    Raises `ConfigInvalid` (permanent) for an unknown kind and unknown, missing or wrong fields.
    """
    module = importlib.import_module(_kind(kind).module)
    return cast(Store, module.open_store(config, capabilities or {}, throttle))


def config_fields(kind: str) -> tuple[ConfigField, ...]:
    """Return the fields that the configuration of `kind` has, and which of them are secret."""
    module = importlib.import_module(_kind(kind).module)
    return cast("tuple[ConfigField, ...]", module.CONFIG_FIELDS)


def _kind(kind: str) -> StoreKind:
    if kind not in STORE_KINDS:
        raise ConfigInvalid(
            "type",
            f"There is no kind of storage called {kind!r}.",
            hint=f"Allowed: {', '.join(STORE_KINDS)}.",
        )
    return STORE_KINDS[kind]

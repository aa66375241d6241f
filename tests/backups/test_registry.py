"""What exists can be loaded, and the two sides of each name agree."""

from __future__ import annotations

from typing import Any

import pytest

from backups import registry
from workers.engine.databases import ENGINES
from workers.engine.stores import STORE_KINDS


def test_every_stage_loads_and_every_pipeline_names_stages_that_exist() -> None:
    for stage in registry.STAGES.values():
        assert callable(stage.load())
    for names in registry.PIPELINES.values():
        assert set(names) <= registry.STAGES.keys()
        assert names[-1] == "cleanup"


def test_every_question_loads() -> None:
    for query in registry.QUERIES:
        assert callable(registry.load_query(query))


def test_stores_and_engines_are_those_of_the_workers() -> None:
    assert registry.STORES.keys() == STORE_KINDS.keys() == registry.STORE_ADDRESSES.keys()
    assert registry.STORES.keys() >= registry.NODE_BOUND_STORES
    assert registry.DATABASE_ENGINES.keys() - {"", "none"} == set(ENGINES)


def test_secrets_are_what_the_store_calls_secret() -> None:
    assert registry.store_secrets("local") == set()
    assert registry.store_secrets("s3") >= {"secret_access_key", "session_token"}


@pytest.mark.parametrize(
    ("kind", "config", "address"),
    [
        ("s3", {"bucket": "b"}, "s3://b/a/k.zst"),
        ("s3", {"bucket": "b", "prefix": "p/q/"}, "s3://b/p/q/a/k.zst"),
        ("local", {"path": "/srv/backups/"}, "/srv/backups/a/k.zst"),
    ],
)
def test_address_is_as_a_person_would_write_it(
    kind: str, config: dict[str, Any], address: str
) -> None:
    assert registry.address_of(kind, config, "a/k.zst") == address

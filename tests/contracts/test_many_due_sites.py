"""Several coordinators start what is due at the same moment: each site exactly once.

With 10,000 sites: `python -m tests.bench.due_sites`.
"""

from __future__ import annotations

import pytest

from tests.contracts.many_due_sites import start_together
from tests.servers.panel_databases import _MAKERS

pytestmark = pytest.mark.slow
SITES = 200


@pytest.mark.parametrize("database", ["mariadb", "postgres"])
def test_each_due_site_starts_once_when_coordinators_start_them_together(
    database: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("due")
    print(database, start_together(_MAKERS[database](request, directory), directory, SITES))

"""Ten thousand sites that are due at once, and three coordinators: each is started exactly once.

python -m tests.bench.due_sites [--sites 10000]
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.contracts.many_due_sites import start_together
from tests.servers.mariadb import start_mariadb


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", type=int, default=10_000)
    sites = parser.parse_args().sites
    with ExitStack() as stack, tempfile.TemporaryDirectory() as directory:
        server = start_mariadb(stack)
        name = server.create_database()
        url = f"mysql://{server.user}:{server.quoted_password}@{server.host}:{server.port}/{name}"
        print(f"{sites} sites on MariaDB:", start_together(url, Path(directory), sites))


if __name__ == "__main__":
    main()

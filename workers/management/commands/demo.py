"""`manage.py demo`: a whole cluster in one folder, which backs up a site and proves the bundle."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console

from backups.management.progress import Follower, LineFollower
from workers.embedded.demo import ENDED_BY_HAND, Demo, DemoOptions
from workers.embedded.sample_site import FULL, SMALL
from workers.engine.errors import EngineError

PROJECT = Path(__file__).resolve().parents[3]


class Command(BaseCommand):
    help = (
        "Start Redis, a coordinator, a worker and the panel; back up a site through the HTTP API, "
        "restore the bundle with tar, and compare every file and row. Exit code: 0 if all is the "
        "same, 1 if not, 130 if ended before."
    )
    # The demo's processes have settings of their own.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--site", type=Path, help="back up this site, not the sample")
        parser.add_argument("--exit", action="store_true", help="end when all is compared")
        parser.add_argument(
            "--folder", type=Path, default=PROJECT / ".demo", help="where all of it is kept"
        )
        parser.add_argument("--small", action="store_true", help="a sample of 6 MB, not of 200")

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ANN401
        console = Console()
        wanted = DemoOptions(
            root=options["folder"].resolve(),
            site=options["site"],
            exit_at_end=options["exit"],
            shape=SMALL if options["small"] else FULL,
        )
        follower = Follower if console.is_terminal else LineFollower
        try:
            status = Demo(wanted, console, lambda: follower(console)).run()
        except EngineError as error:
            hint = f"\n{error.hint}" if error.hint else ""
            raise CommandError(f"{error.message}.{hint}") from error
        except KeyboardInterrupt:
            status = ENDED_BY_HAND
        sys.exit(status)

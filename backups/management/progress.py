"""Shows a job's progress: bars on a terminal, a line for each change elsewhere."""

from __future__ import annotations

from typing import Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TransferSpeedColumn,
)


class Follower:
    """One bar for each stage, drawn in place."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description:14}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TextColumn("{task.fields[detail]}", markup=False),
            console=console,
        )
        self._bars: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._progress.stop()

    def show(self, status: dict[str, Any]) -> None:
        """Draw a status object of the wire contract."""
        for stage in status["stages"]:
            if stage["name"] not in self._bars:
                self._bars[stage["name"]] = self._progress.add_task(
                    stage["name"], total=None, start=False, detail=""
                )
            bar = self._bars[stage["name"]]
            if stage["status"] != "pending":
                self._progress.start_task(bar)
            total, processed = stage["bytes_total"], stage["bytes_processed"]
            if stage["status"] == "completed":
                total = processed = max(total, 1)
            detail = stage["detail"] or ""
            self._progress.update(bar, total=total or None, completed=processed, detail=detail)


class LineFollower:
    """A line whenever the stage, its detail or another tenth of the way changes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said: tuple[object, ...] = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        pass

    def show(self, status: dict[str, Any]) -> None:
        """Print a status object of the wire contract, unless it says nothing new."""
        news = (status["message"], status["stage_detail"], status["progress"] // 10)
        if news != self._said:
            self._said = news
            detail = f": {status['stage_detail']}" if status["stage_detail"] else ""
            line = f"{status['progress']:3d}% {status['message']}{detail}"
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)

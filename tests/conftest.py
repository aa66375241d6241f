"""What every test may use: the servers' fixtures, each in a module of its own."""

from __future__ import annotations

from pathlib import Path

SERVERS = Path(__file__).parent / "servers"

# Every module beside this folder's __init__.py holds the fixtures of one kind of server.
pytest_plugins = [
    f"tests.servers.{module.stem}"
    for module in sorted(SERVERS.glob("*.py"))
    if module.stem != "__init__"
]

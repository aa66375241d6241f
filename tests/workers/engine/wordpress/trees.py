"""Small folders that look like WordPress."""

from __future__ import annotations

from pathlib import Path

CONFIG = """<?php
define('DB_NAME', '{name}'); define('DB_USER', 'u'); define('DB_PASSWORD', 'p');
define('DB_HOST', 'localhost'); $table_prefix = 'wp_'; require ABSPATH . 'wp-settings.php';
"""


def make_site(path: Path, name: str = "shop", *, config: bool = True, core: bool = True) -> Path:
    """Make a folder with WordPress's most telling files and return it."""
    (path / "wp-content" / "uploads").mkdir(parents=True)
    if core:
        (path / "wp-includes").mkdir()
        (path / "wp-admin").mkdir()
        (path / "wp-settings.php").write_text("<?php")
        (path / "wp-includes" / "version.php").write_text("<?php\n$wp_version = '6.8.1';\n")
    if config:
        (path / "wp-config.php").write_text(CONFIG.format(name=name))
    return path

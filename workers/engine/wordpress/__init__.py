"""Knows WordPress: where its files are, what `wp-config.php` says, what the database calls it."""

from workers.engine.wordpress.config import WordPressConfig, read_wp_config
from workers.engine.wordpress.database import SiteIdentity, database_spec, read_site_identity
from workers.engine.wordpress.host import DatabaseHost, parse_database_host
from workers.engine.wordpress.site import SiteInspection, find_wp_config, inspect_site

__all__ = [
    "DatabaseHost",
    "SiteIdentity",
    "SiteInspection",
    "WordPressConfig",
    "database_spec",
    "find_wp_config",
    "inspect_site",
    "parse_database_host",
    "read_site_identity",
    "read_wp_config",
]

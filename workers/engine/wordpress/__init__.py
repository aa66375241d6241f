"""Knows WordPress: where its files are, what `wp-config.php` says, what the database calls it."""

from workers.engine.wordpress.config import WordPressConfig, read_wp_config
from workers.engine.wordpress.database import SiteIdentity, database_spec, read_site_identity
from workers.engine.wordpress.facts import compare_facts
from workers.engine.wordpress.host import DatabaseHost, parse_database_host
from workers.engine.wordpress.rewrite import RewriteReport, rewrite_site
from workers.engine.wordpress.site import SiteInspection, find_wp_config, inspect_site
from workers.engine.wordpress.wp_config import EditedConfig, rewrite_wp_config

__all__ = [
    "DatabaseHost",
    "EditedConfig",
    "RewriteReport",
    "SiteIdentity",
    "SiteInspection",
    "WordPressConfig",
    "compare_facts",
    "database_spec",
    "find_wp_config",
    "inspect_site",
    "parse_database_host",
    "read_site_identity",
    "read_wp_config",
    "rewrite_site",
    "rewrite_wp_config",
]

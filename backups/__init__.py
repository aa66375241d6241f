"""The domain: nodes, sites, jobs and backups, and everything that may change them."""

"""How databases are dumped: one module per kind of server, all behind `base.Database`."""

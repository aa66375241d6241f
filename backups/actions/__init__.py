"""Every write to the domain's rows. API, admin, commands and workers all come through here."""

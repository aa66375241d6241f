"""The accounts app."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """See the module."""

    name = "panel.accounts"
    label = "accounts"
    verbose_name = "People"

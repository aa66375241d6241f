"""People who sign in."""

from __future__ import annotations

import pytest
from rest_framework.test import APIClient

from panel.accounts.models import User

PASSWORD = "correct-horse-battery-staple"


@pytest.fixture(autouse=True)
def quick_passwords(settings: pytest.FixtureRequest) -> None:
    """Hash passwords cheaply; a module that tests hashing has a fixture of this name of its own."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def user(db: None) -> User:
    return User.objects.create_user("ada@example.com", PASSWORD, full_name="Ada")


@pytest.fixture
def client() -> APIClient:
    return APIClient(raise_request_exception=False)

"""People who sign in, with the password hash that production uses."""

from __future__ import annotations

import pytest
from rest_framework.test import APIClient

from panel.accounts.models import User

PASSWORD = "correct-horse-battery-staple"


@pytest.fixture
def user(db: None) -> User:
    return User.objects.create_user("ada@example.com", PASSWORD, full_name="Ada")


@pytest.fixture
def client() -> APIClient:
    return APIClient(raise_request_exception=False)

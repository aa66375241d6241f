"""What the coordinator removes of the people's rows."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db.models.functions import Now

from panel.accounts import tokens
from panel.accounts.models import SignIn, User


@pytest.mark.django_db(transaction=True)
def test_sign_ins_that_ended_long_ago_go_with_the_coordinators_tidying(user: User) -> None:
    tokens.issue(user)
    old = SignIn.objects.get()
    tokens.issue(user)
    ended = Now() - timedelta(days=60)
    SignIn.objects.filter(pk=old.pk).update(ended_at=ended, last_used_at=ended)
    call_command("coordinator", "--once")
    assert SignIn.objects.count() == 1
    assert not SignIn.objects.filter(pk=old.pk).exists()

"""How often one address may ask for credentials."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle
from rest_framework.views import APIView


class SignInThrottle(SimpleRateThrottle):
    """So many requests from one address to one of these routes; a rail, not the lock.

    Each process counts for itself, since Django's default cache is the process's own memory: with
    four processes it is up to four times as many. Failed attempts are counted in the database.
    """

    scope = "sign_in"
    rate = "60/min"

    def get_cache_key(self, request: Request, view: APIView) -> str:
        """Count by the view and the address."""
        return f"throttle_{type(view).__name__}_{request.META.get('REMOTE_ADDR', '')}"

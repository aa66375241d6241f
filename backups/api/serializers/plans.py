"""A site's quota on the wire."""

from __future__ import annotations

import math
from typing import Any

from rest_framework import serializers

# A slip of the hand beyond it: ten petabytes.
MAX_QUOTA_GB = 10_000_000
NO_QUOTA = "none"


class QuotaQuery(serializers.Serializer[Any]):
    """How much a site's backups may take."""

    quota_gb = serializers.CharField(
        max_length=30, help_text=f"GiB, more than 0; the word `{NO_QUOTA}` takes the limit away."
    )

    def validate_quota_gb(self, text: str) -> float | None:
        """Return the number, None for no limit."""
        if text.lower() == NO_QUOTA:
            return None
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not 0 < number <= MAX_QUOTA_GB:
            raise serializers.ValidationError(
                f"Give a number of GiB above 0 and up to {MAX_QUOTA_GB}, or the word {NO_QUOTA}."
            )
        return number


class QuotaBody(serializers.Serializer[Any]):
    """A quota and what is used of it; no quota is null, and so is what follows from it."""

    quota_gb = serializers.FloatField(allow_null=True)
    used_bytes = serializers.IntegerField()
    used_gb = serializers.FloatField()
    remaining_gb = serializers.FloatField(allow_null=True)
    percent_used = serializers.FloatField(allow_null=True, help_text="Over 100 if it was lowered.")


class NodeQuotaBody(QuotaBody):
    """The same for all sites of a node together."""

    node_id = serializers.IntegerField()


class QuotaStatusBody(QuotaBody):
    """The quota of a site, and that of its node."""

    site_id = serializers.IntegerField()
    node = NodeQuotaBody(
        allow_null=True, help_text="Null for those who may not see what other sites take."
    )


class QuotaCheckBody(serializers.Serializer[Any]):
    """Whether the next backup fits in."""

    site_id = serializers.IntegerField()
    can_proceed = serializers.BooleanField()
    used_gb = serializers.FloatField()
    quota_gb = serializers.FloatField(allow_null=True)
    expected_gb = serializers.FloatField(help_text="As the newest good backup; 0 without one.")
    reason = serializers.CharField(allow_null=True, help_text="Why it does not.")

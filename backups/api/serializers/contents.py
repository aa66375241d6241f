"""What is in a bundle, on the wire."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

KINDS = ("file", "folder", "symlink", "hardlink")


class EntryBody(serializers.Serializer[Any]):
    """One name in a folder. Of a folder, `size` and `files` count all that is below it."""

    name = serializers.CharField()
    path = serializers.CharField(
        allow_null=True, help_text="Null where it is not UTF-8: restore its folder instead."
    )
    type = serializers.ChoiceField(choices=KINDS)
    mode = serializers.CharField(help_text="Octal, as 0644.")
    size = serializers.IntegerField()
    files = serializers.IntegerField()
    modified_at = serializers.DateTimeField(allow_null=True)
    sha256 = serializers.CharField(allow_null=True)
    link = serializers.CharField(allow_null=True, help_text="Where a link leads.")


class TableBody(serializers.Serializer[Any]):
    """One table or view of the dump in a bundle."""

    name = serializers.CharField()
    rows = serializers.IntegerField(
        allow_null=True, help_text="Null of a view, and where they could not be counted."
    )
    size = serializers.IntegerField(
        allow_null=True, help_text="Of its part of the dump; null where that is not recorded."
    )


class TablesBody(serializers.Serializer[Any]):
    """All tables of the dump in a bundle, by name; none where it holds no database."""

    backup_id = serializers.IntegerField()
    tables = TableBody(many=True)
    total = serializers.IntegerField()
    bytes_fetched = serializers.IntegerField(help_text="Of the bundle, for this answer.")


class ContentsBody(serializers.Serializer[Any]):
    """A part of a folder of a bundle."""

    backup_id = serializers.IntegerField()
    path = serializers.CharField()
    entries = EntryBody(many=True)
    total = serializers.IntegerField()
    bytes_fetched = serializers.IntegerField(help_text="Of the bundle, for this answer.")

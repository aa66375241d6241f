"""Pages of long lists."""

from __future__ import annotations

from typing import TypeVar

from django.db.models import Model, QuerySet

Row = TypeVar("Row", bound=Model)


def page_of(rows: QuerySet[Row], skip: int, limit: int, total: int) -> list[Row]:
    """Return what `rows[skip : skip + limit]` would, of `total` rows, at a lower price.

    The database passes over skipped rows one by one. So it is asked for keys alone, which an index
    holds in order, and from the end where that is nearer; then for the rows of the page.
    """
    number = min(limit, total - skip)
    if number <= 0:
        return []
    keys = rows.values_list("pk", flat=True)
    if skip > total // 2:
        begin = total - skip - number
        wanted = list(keys.reverse()[begin : begin + number])[::-1]
    else:
        wanted = list(keys[skip : skip + number])
    found = rows.in_bulk(wanted)
    # A row may have gone in between.
    return [found[key] for key in wanted if key in found]

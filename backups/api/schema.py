"""What the schema says of every route alike (a postprocessing hook of drf-spectacular)."""

from __future__ import annotations

from typing import Any

ERROR = {
    "description": "Refused or failed: a sentence for a person, a word for a program.",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorBody"}}},
}
# Numbers are keys of rows: the database's own bound.
LARGEST_KEY = 2**63 - 1


def describe_all(result: dict[str, Any], **_: Any) -> dict[str, Any]:  # noqa: ANN401
    """Say of each operation how it refuses, and that request bodies hold declared fields only."""
    for operations in result["paths"].values():
        for operation in operations.values():
            operation["responses"].setdefault("default", ERROR)
            for parameter in operation.get("parameters", []):
                _bound(parameter)
    for name, schema in result["components"]["schemas"].items():
        if name.endswith("Request") and schema.get("type") == "object":
            schema.setdefault("additionalProperties", False)
    return result


def _bound(parameter: dict[str, Any]) -> None:
    schema = parameter.get("schema", {})
    if parameter["in"] == "path" and schema.get("type") == "integer":
        schema.setdefault("minimum", 0)
        schema.setdefault("maximum", LARGEST_KEY)

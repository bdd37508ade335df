"""Examples of bodies in the description, put onto the serializer that they are examples of."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema_serializer


def shows(**value: Any) -> Any:
    """An answer."""
    return extend_schema_serializer(examples=[OpenApiExample("Example", value=value, response_only=True)])


def takes(**value: Any) -> Any:
    """The body of a request."""
    return extend_schema_serializer(examples=[OpenApiExample("Example", value=value, request_only=True)])

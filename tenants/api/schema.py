"""How endpoints are described in OpenAPI: what every one of them shares."""

from drf_spectacular.openapi import AutoSchema


class Schema(AutoSchema):
    """drf-spectacular's view of an endpoint."""

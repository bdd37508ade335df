"""What every template knows."""

from django.conf import settings
from django.http import HttpRequest


def site(request: HttpRequest) -> dict[str, object]:
    """``demo``: embedded parts are in use; ``portal_url``: where this portal is."""
    return {"demo": settings.DEMO, "portal_url": settings.PORTAL_URL}

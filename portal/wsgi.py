"""The WSGI application. It does not start with settings that are unsafe in production: web servers run no system checks."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

application = get_wsgi_application()

from portal.checks import refuse_unsafe_settings  # noqa: E402 - needs Django set up, which the line above does

refuse_unsafe_settings()

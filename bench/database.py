"""A database of its own for one run."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from django.conf import settings
from django.core.management import call_command
from django.db import connections


@contextmanager
def throwaway_database() -> Iterator[str]:
    """Create and migrate the database of bench.settings; drop it at the end. Its name."""
    name = settings.DATABASES["default"]["NAME"]
    with psycopg.connect(settings.SERVER, autocommit=True) as server:
        server.execute(f'CREATE DATABASE "{name}"')
        try:
            call_command("migrate", verbosity=0)
            yield name
        finally:
            connections.close_all()
            server.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

"""What the commands that read and write CSV files have in common."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser

from keys.sheets import private_file
from tenants.models import Tenant


def add_common_arguments(parser: CommandParser) -> None:
    parser.add_argument("--tenant", required=True, metavar="ID", help="the tenant's id, as its staff page shows it")
    parser.add_argument("--output", type=Path, metavar="FILE", help="where to write, readable by you alone; standard output by default")
    parser.add_argument(
        "--with-credentials", action="store_true", help="write credentials in clear; each is noted in the audit trail as read"
    )


def chosen_tenant(text: str) -> Tenant:
    """The tenant with this id. Raises CommandError."""
    try:
        tenant = Tenant.objects.filter(pk=uuid.UUID(text)).first()
    except (ValueError, ValidationError):
        tenant = None
    if tenant is None:
        raise CommandError("--tenant: no tenant has this id. The staff page of a tenant shows it.")
    return tenant


@contextmanager
def opened(output: Path | None, standard: Any) -> Iterator[Any]:
    """The output file, else ``standard``. Raises CommandError when it cannot be opened."""
    if output is None:
        yield standard
        return
    try:
        manager = private_file(output)
        file = manager.__enter__()
    except OSError as error:
        raise CommandError(f"--output: {output} cannot be written ({error.strerror}).") from error
    try:
        yield file
    finally:
        manager.__exit__(None, None, None)

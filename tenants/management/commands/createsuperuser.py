"""Django's ``createsuperuser``, whose people can sign in at once."""

from typing import Any

from django.contrib.auth.management.commands import createsuperuser

from tenants.services.people import verify_superusers


class Command(createsuperuser.Command):
    """The address counts as verified: an operator with a shell must get in while no mail can be sent."""

    def handle(self, *args: Any, **options: Any) -> None:
        super().handle(*args, **options)
        verify_superusers()

"""Encrypt every stored value under the newest key."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from keys import values
from keys.services import encryption
from keys.words import counted


class Command(BaseCommand):
    help = "Encrypt every stored value under the first of ENCRYPTION_KEYS. Afterwards the older keys can be taken from the list."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            count = encryption.rotate_encryption()
        except values.UnreadableValue as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{counted(count, 'value is', 'values are')} encrypted under the newest key.")

"""Before the start: check, migrate, seed - in one process, for importing Django takes longer than the work."""

import os

import django
from django.core.management import call_command


def main() -> None:
    """Raises what the commands raise."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    django.setup()
    call_command("check")
    call_command("migrate", verbosity=0, interactive=False, skip_checks=True)
    call_command("seed_demo", skip_checks=True)


if __name__ == "__main__":
    main()

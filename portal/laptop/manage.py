"""``python -m portal.laptop.manage COMMAND ...``: a management command on the data of ``make run``, beside it or without it.

It has the demo's database, secrets and sandbox; a bare ``manage.py`` has those of production, and its own defaults for the secrets
would make rows that the running portal cannot read. DATA_DIR, PORT and SANDBOX_PORT have to be those of that ``make run``.
"""

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line

from portal.laptop import configuration
from portal.laptop.configuration import UnableToStart


def main() -> int:
    """Run it. Exit codes are the command's own; 2 when there is no such data folder, or a variable must be changed."""
    try:
        environment = _environment()
        configuration.check_settings(environment)
        os.environ.update(environment)
    except (ImproperlyConfigured, UnableToStart) as error:
        print(f"The command cannot start. {error}", file=sys.stderr)  # noqa: T201 - a command's words to its user
        return 2
    execute_from_command_line(["manage.py", *sys.argv[1:]])
    return 0


def _environment() -> dict[str, str]:
    """That of the parts of ``make run``. Raises as configuration.read, and UnableToStart when nothing was ever kept there."""
    settings = configuration.read()
    if not (settings.data_dir / "secrets.json").exists():
        raise UnableToStart(f"{settings.data_dir} holds no data of `make run`: start that first, or name its folder with DATA_DIR.")
    return configuration.children_environment(settings)


if __name__ == "__main__":
    sys.exit(main())

"""Write a tenant's API keys to a CSV file."""

from collections.abc import Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from keys import selectors
from keys.management.sheets import add_common_arguments, chosen_tenant, opened
from keys.models import ApiKey
from keys.public import key_data
from keys.services import api_keys
from keys.sheets import Writer
from keys.words import counted
from tenants.audit import Actor

ACTOR = Actor.command("export_keys")
COLUMNS = ["id", "name", "description", "tier", "status", "last_four", "endpoint", "created_at", "disabled_at", "revoked_at"]


class Command(BaseCommand):
    help = (
        "Write a tenant's API keys to a CSV file, the oldest first. With --columns tier,name,description it is one that import_keys takes."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--columns", default=",".join(COLUMNS), metavar="A,B", help="by default: %(default)s")
        parser.add_argument("--revoked", action="store_true", help="revoked keys too, without credentials")
        add_common_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        tenant = chosen_tenant(options["tenant"])
        columns = _chosen(options["columns"])
        with_credentials: bool = options["with_credentials"]
        count = 0
        with opened(options["output"], self.stdout) as file:
            writer = Writer(file, [*columns, "credential"] if with_credentials else columns)
            for page in selectors.api_keys_in_pages(tenant, revoked=options["revoked"]):
                for row in _rows(page, with_credentials=with_credentials):
                    writer.write(row)
                count += len(page)
        self.stderr.write(f"{counted(count, 'key was', 'keys were')} written.", str)


def _chosen(text: str) -> list[str]:
    columns = [column.strip() for column in text.split(",")]
    unknown = [column for column in columns if column not in COLUMNS]
    if unknown or len(set(columns)) < len(columns):
        raise CommandError(f"--columns: choose from {', '.join(COLUMNS)}, each once.")
    return columns


def _rows(page: Sequence[ApiKey], *, with_credentials: bool) -> list[dict[str, object]]:
    credentials = {}
    if with_credentials:
        live = [api_key for api_key in page if api_key.revoked_at is None]
        try:
            credentials = api_keys.reveal_each(api_keys=live, actor=ACTOR)
        except api_keys.UnableToChangeKey as refusal:
            raise CommandError(str(refusal)) from refusal
    stages = selectors.endpoints_of(page)
    now = timezone.now()
    renewing = selectors.renewing_among(page, now)
    return [
        {**key_data(each, stages.get(each.pk), now, renewing=each.pk in renewing), "credential": credentials.get(each.pk)} for each in page
    ]

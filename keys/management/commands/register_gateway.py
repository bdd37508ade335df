"""Register an AWS account and Region, and the stage that tenants call there."""

import os
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from keys.models import Gateway, Stage
from keys.services import gateways
from tenants.audit import Actor

ACTOR = Actor.command("register_gateway")


class Command(BaseCommand):
    help = "Register a gateway (an AWS account and Region) and one of its deployed stages. Run again to change the invoke URL."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--account", default=os.environ.get("GATEWAY_ACCOUNT_ID"), help="12 digits [GATEWAY_ACCOUNT_ID]")
        parser.add_argument("--region", default=os.environ.get("GATEWAY_REGION"), help="as us-east-1 [GATEWAY_REGION]")
        parser.add_argument("--api", default=os.environ.get("GATEWAY_REST_API_ID"), help="REST API id [GATEWAY_REST_API_ID]")
        parser.add_argument("--stage", default=os.environ.get("GATEWAY_STAGE"), help="stage name [GATEWAY_STAGE]")
        parser.add_argument(
            "--invoke-url",
            default=os.environ.get("GATEWAY_INVOKE_URL"),
            help="what tenants call; the execute-api URL by default [GATEWAY_INVOKE_URL]",
        )
        parser.add_argument(
            "--test-path", default=os.environ.get("GATEWAY_TEST_PATH", "/api"), help="a GET that needs a key [GATEWAY_TEST_PATH]"
        )
        parser.add_argument("--name", default="", help="how staff call the gateway; account and Region by default")
        parser.add_argument("--propagation", type=int, default=60, help="seconds until a new key is answered (default: 60)")

    def handle(self, *args: Any, **options: Any) -> None:
        for option, variable in (("account", "ACCOUNT_ID"), ("region", "REGION"), ("api", "REST_API_ID"), ("stage", "STAGE")):
            if not options[option]:
                raise CommandError(f"--{option} is missing; give it or set GATEWAY_{variable}.")
        try:
            stage = register(**options)
        except gateways.UnableToChangeGateway as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"Gateway {stage.gateway} serves {stage} at {stage.invoke_url}")


def register(
    *,
    account: str,
    region: str,
    api: str,
    stage: str,
    invoke_url: str | None,
    test_path: str,
    name: str,
    propagation: int,
    **_options: Any,
) -> Stage:
    """Register gateway and stage, or bring the stage's URL up to date. Raises UnableToChangeGateway."""
    url = invoke_url or f"https://{api}.execute-api.{region}.amazonaws.com/{stage}"
    gateway = Gateway.objects.filter(account_id=account, region=region).first() or gateways.register_gateway(
        name=name or f"{account} {region}", account_id=account, region=region, propagation_seconds=propagation, actor=ACTOR
    )
    known = Stage.objects.filter(gateway=gateway, rest_api_id=api, name=stage).first()
    if known is None:
        return gateways.register_stage(gateway=gateway, rest_api_id=api, name=stage, invoke_url=url, test_path=test_path, actor=ACTOR)
    return gateways.change_stage(stage=known, invoke_url=url, test_path=test_path, actor=ACTOR)

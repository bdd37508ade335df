"""Look at an AWS account and Region, and register it with the stages that tenants call there."""

import os
from collections.abc import Sequence
from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from keys.models import Gateway, Stage
from keys.services import gateways
from keys.sync import connecting, permissions
from tenants.audit import Actor

ACTOR = Actor.command("connect_gateway")
# The options that a gateway's fields come from.
OPTIONS = {"account_id": "--account", "region": "--region", "role_arn": "--role", "external_id": "--external-id"}


class Command(BaseCommand):
    help = (
        "Register a gateway (an AWS account and Region) and stages of one REST API there, after a look at what the workers may do. The "
        "look changes nothing at AWS. Run again to add stages, or to change the role or an invoke URL; what is not given stays."
    )
    # register_gateway is this command without the look.
    looks: ClassVar[bool] = True

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--account", default=os.environ.get("GATEWAY_ACCOUNT_ID"), help="12 digits [GATEWAY_ACCOUNT_ID]")
        parser.add_argument("--region", default=os.environ.get("GATEWAY_REGION"), help="as us-east-1 [GATEWAY_REGION]")
        parser.add_argument("--role", metavar="ARN", help="the role that the workers take on through STS; without, their own credentials")
        parser.add_argument("--external-id", metavar="ID", help="what the role's trust policy asks for")
        parser.add_argument("--api", default=os.environ.get("GATEWAY_REST_API_ID"), help="REST API id [GATEWAY_REST_API_ID]")
        parser.add_argument(
            "--stage",
            action="append",
            help="stage name, repeatable [GATEWAY_STAGE]" + ("; without, every deployed stage of the API" if self.looks else ""),
        )
        parser.add_argument(
            "--invoke-url",
            help=(
                "what tenants call [GATEWAY_INVOKE_URL, for the stage that the variables name]; by default what a registered stage has, "
                "and the execute-api URL for a new one"
            ),
        )
        parser.add_argument(
            "--test-path",
            help="a GET that needs a key [GATEWAY_TEST_PATH]; by default what a registered stage has, and /api for a new one",
        )
        parser.add_argument("--name", default="", help="how staff call the gateway; account and Region by default")
        parser.add_argument("--propagation", type=int, default=60, help="seconds until a new key is answered (default: 60)")
        if self.looks:
            parser.add_argument("--dry-run", action="store_true", help="say what is there and what would be registered, and stop")

    def handle(self, *args: Any, **options: Any) -> None:
        for option, variable in (("account", "ACCOUNT_ID"), ("region", "REGION"), ("api", "REST_API_ID")):
            if not options[option]:
                raise CommandError(f"--{option} is missing; give it or set GATEWAY_{variable}.")
        if _is_of_environment(**options):
            options["invoke_url"] = options["invoke_url"] or os.environ.get("GATEWAY_INVOKE_URL")
            options["test_path"] = options["test_path"] or os.environ.get("GATEWAY_TEST_PATH")
        gateway = _known(**options)
        known = {stage.name: stage for stage in Stage.objects.filter(gateway=gateway.pk, rest_api_id=options["api"]).order_by("name")}
        named = _named(**options)
        tried = next((known[name].test_path for name in named or known if name in known), _new_test_path())
        looked = self._look(gateway, options["api"], options["test_path"] or tried) if self.looks else None
        names = self._stages(looked, options["api"], named)
        if len(names) > 1 and options["invoke_url"]:
            raise CommandError("--invoke-url is of one stage; name it with --stage, and run again for the others.")
        stages = [_wanted(name, known.get(name), **options) for name in names]
        for stage in stages:
            self.stdout.write(f"Stage {stage} at {stage.invoke_url}")
        if options.get("dry_run"):
            self.stdout.write("Nothing was registered: this was a dry run.")
            return
        try:
            gateway = _registered(gateway, stages, **options)
        except gateways.UnableToChangeGateway as error:
            raise CommandError(str(error)) from error
        if looked is not None:
            permissions.note(gateway, looked.missing)
        self.stdout.write(f"Gateway {gateway} is registered.")

    def _look(self, gateway: Gateway, api_id: str, test_path: str) -> connecting.Looked:
        """Ask AWS and print what it said. Raises CommandError where nothing could be done with the gateway."""
        try:
            looked = connecting.look(gateway, api_ids=[api_id], test_path=test_path)
        except connecting.UnableToLook as error:
            raise CommandError(str(error)) from error
        who = f"the role {gateway.role_arn}" if gateway.role_arn else "the credentials that this process has"
        self.stdout.write(f"AWS account {gateway.account_id}, Region {gateway.region}, with {who}.")
        [api] = looked.apis
        lacking = [missing["words"] for missing in looked.missing]
        if api.stages is None:
            lacking.append("apigateway:GET on /restapis/*/stages: which stages there are could not be seen.")
        for words in lacking:
            self.stdout.write(self.style.WARNING(f"Missing: {words}"))
        if not lacking:
            self.stdout.write("All rights that Tollgate needs are there.")
        else:
            self.stdout.write("Add what is missing to the policies of deploy/iam, and look again with --dry-run.")
        if not looked.is_readable:
            raise CommandError("Without the right to read keys and usage plans nothing can be done with this gateway.")
        if api.needs_key is False:
            words = f"GET {test_path} needs no API key: it is answered to everybody, without limits. Set “API key required” on it."
            self.stdout.write(self.style.WARNING(words))
        elif api.needs_key is None:
            self.stdout.write(f"Whether GET {test_path} needs an API key could not be seen.")
        return looked

    def _stages(self, looked: connecting.Looked | None, api_id: str, named: Sequence[str]) -> Sequence[str]:
        """The stages to register. Raises CommandError for one that does not exist."""
        deployed = looked.apis[0].stages if looked else None
        if deployed is None:
            if not named:
                raise CommandError("--stage is missing; give it or set GATEWAY_STAGE.")
            return named
        if not deployed:
            raise CommandError(f"There is no REST API {api_id} with a deployed stage in this account and Region.")
        absent = next((name for name in named if name not in deployed), None)
        if absent is not None:
            raise CommandError(f"The API {api_id} has no stage {absent}; it has {', '.join(deployed)}.")
        return named or deployed


def _known(*, account: str, region: str, role: str | None, external_id: str | None, **_options: Any) -> Gateway:
    """The gateway as it shall be: the registered one with what was given, else a new one that is not saved yet. Raises CommandError."""
    gateway = Gateway.objects.filter(account_id=account, region=region).first() or Gateway(account_id=account, region=region)
    gateway.role_arn = gateway.role_arn if role is None else role
    gateway.external_id = gateway.external_id if external_id is None else external_id
    try:
        gateway.clean_fields(exclude=["name"])
    except ValidationError as error:
        field, messages = next(iter(error.message_dict.items()))
        raise CommandError(f"{OPTIONS.get(field, field)}: {' '.join(messages)}") from error
    return gateway


def _is_of_environment(*, account: str, region: str, api: str, **_options: Any) -> bool:
    """Whether this is the API that the variables name: their stage and invoke URL are no other's, or tenants would call the wrong one."""
    return (account, region, api) == tuple(os.environ.get(f"GATEWAY_{name}") for name in ("ACCOUNT_ID", "REGION", "REST_API_ID"))


def _named(*, stage: str | Sequence[str] | None, **options: Any) -> Sequence[str]:
    """The stages that were given, else that of the environment; none: every deployed one is meant."""
    if stage:
        return [stage] if isinstance(stage, str) else stage
    from_environment = os.environ.get("GATEWAY_STAGE") if _is_of_environment(**options) else None
    return [from_environment] if from_environment else []


def _wanted(
    name: str, known: Stage | None, /, *, api: str, region: str, invoke_url: str | None, test_path: str | None, **_options: Any
) -> Stage:
    """A stage as it shall be: the registered one with what was given, else a new one that is not saved yet. What was not given stays."""
    stage = known or Stage(
        rest_api_id=api,
        name=name,
        invoke_url=_execute_api_url(api, name, region),
        test_path=_new_test_path(),
    )
    stage.invoke_url, stage.test_path = invoke_url or stage.invoke_url, test_path or stage.test_path
    return stage


def _registered(gateway: Gateway, stages: Sequence[Stage], *, name: str, propagation: int, **_options: Any) -> Gateway:
    """Register gateway and stages, or bring them up to date. Raises UnableToChangeGateway."""
    if gateway._state.adding:
        gateway = gateways.register_gateway(
            name=name or f"{gateway.account_id} {gateway.region}",
            account_id=gateway.account_id,
            region=gateway.region,
            role_arn=gateway.role_arn,
            external_id=gateway.external_id,
            propagation_seconds=propagation,
            actor=ACTOR,
        )
    else:
        gateway = gateways.change_gateway(gateway=gateway, role_arn=gateway.role_arn, external_id=gateway.external_id, actor=ACTOR)
    for stage in stages:
        called = {"invoke_url": stage.invoke_url, "test_path": stage.test_path}
        if stage._state.adding:
            gateways.register_stage(gateway=gateway, rest_api_id=stage.rest_api_id, name=stage.name, **called, actor=ACTOR)
        else:
            gateways.change_stage(stage=stage, **called, actor=ACTOR)
    return gateway


def _new_test_path() -> str:
    return os.environ.get("GATEWAY_TEST_PATH") or "/api"


def _execute_api_url(api: str, stage: str, region: str) -> str:
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"https://{api}.execute-api.{region}.{domain}/{stage}"

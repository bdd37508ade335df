"""What the scenarios of crash points share: a gateway with a tier of each sort, workers that go on, and hands at the console."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.db.models.functions import Now

from keys.models import Adoption, ApiKey, Gateway, GatewayKey, Stage, Tier, UsagePlan
from keys.proposals import Decision, Proposal, suggestions
from keys.services import adoptions, api_keys, catalog, gateways, pools, purchases
from keys.sync import converge
from keys.sync.sweep import sweep
from tenants.audit import SYSTEM
from tenants.models import Tenant
from tenants.webhooks import endpoints
from tests.faults.harness import left_to_do
from tests.support.factories import make_gateway, make_stage, make_tenant, make_tier
from tests.support.sandbox import SandboxProcess

STAGE = {"apiId": "groceries", "stage": "v1"}
ACCOUNT, ANOTHER_REGION = "000000000000", "eu-west-1"
WIDE = {"throttle_rate": Decimal(10_000), "throttle_burst": 5_000, "quota_limit": None, "quota_period": "", "max_api_keys": 100_000}


@dataclass
class World:
    """A gateway with a tier of each sort, which all scenarios of a run share; ``made`` is what ``prepare`` made for one ``act``."""

    sandbox: SandboxProcess
    gateway: Gateway
    stage: Stage
    pooled: Tier
    siloed: Tier
    spared: Tier
    made: dict[str, Any] = field(default_factory=dict)

    # As the oracle asks a stack
    def sandbox_call(self, act: Callable[[SandboxProcess], Any]) -> Any:
        return act(self.sandbox)

    def work(self) -> None:
        """What the workers do on a bell and on a sweep."""
        for gateway_id in sweep():
            converge.converge(gateway_id)

    def mend(self) -> None:
        """Let the sandbox do again what it is asked."""
        self.sandbox.clear_faults()
        self.allow()

    def allow(self, *but: str) -> None:
        """The workers may call every operation but these."""
        self.sandbox.role("", deny=list(but))

    def again(self) -> None:
        """Let what was put off after a failure be due now."""
        for rows in (GatewayKey.objects, UsagePlan.objects, Adoption.objects):
            rows.exclude(next_try_at=None).update(next_try_at=None)
        Gateway.objects.update(resume_at=None)

    def buy(self, *tiers: Tier, tenant: Tenant | None = None) -> list[ApiKey]:
        """API keys of one tenant, a new one unless it is given."""
        tenant = tenant or make_tenant(uuid.uuid4().hex)
        return [purchases.buy(tenant=tenant, tier=tier, name=uuid.uuid4().hex, actor=SYSTEM, purchase_token=uuid.uuid4()) for tier in tiers]

    def recover(self, seconds: float = 20) -> None:
        """Go on as workers would once the dead holder's lease has run out and what was put off is tried again, until nothing is left."""
        until = time.monotonic() + seconds
        while True:
            Gateway.objects.exclude(lease_owner="").update(lease_expires_at=Now() - timedelta(seconds=1))
            self.again()
            self.work()
            if not left_to_do():
                return
            assert time.monotonic() < until, f"left to do: {left_to_do()}"


def make_world(sandbox: SandboxProcess) -> World:
    """On an empty database and an empty sandbox."""
    gateway = make_gateway(account_id=ACCOUNT)
    stage = make_stage(gateway, invoke_url=sandbox.invoke_url(""))
    tiers = [make_tier(stage=stage, **{**WIDE, **more}) for more in ({"pool_size": 3}, {}, {"spare_target": 2})]
    world = World(sandbox, gateway, stage, *tiers)
    world.recover()
    return world


@contextlib.contextmanager
def refusals_are_no_matter() -> Iterator[None]:
    """What the first time may have done already."""
    refusals = (
        api_keys.UnableToChangeKey,
        pools.UnableToChangePool,
        catalog.UnableToChangeTier,
        adoptions.UnableToAdopt,
        gateways.UnableToChangeGateway,
    )
    with contextlib.suppress(*refusals):
        yield


def listener() -> Tenant:
    """A new tenant with a webhook that is told of everything."""
    tenant = make_tenant(uuid.uuid4().hex)
    endpoints.register(tenant=tenant, url="https://example.com/told", types=endpoints.TYPES, actor=SYSTEM)
    return tenant


def second_gateway(world: World) -> Gateway:
    """In another Region, which is an account-Region of its own in the sandbox."""
    there = Gateway.objects.filter(region=ANOTHER_REGION, account_id=ACCOUNT).first()
    if there is None:
        world.sandbox.world(f"{ACCOUNT}:{ANOTHER_REGION}")
        api = f"api-{ACCOUNT}-{ANOTHER_REGION}"
        there = make_gateway(account_id=ACCOUNT, region=ANOTHER_REGION)
        make_stage(there, rest_api_id=api, invoke_url=world.sandbox.invoke_url("", api=api))
    return there


# --- At the console


def detach(world: World, key: GatewayKey) -> None:
    """Somebody takes a key out of its usage plan."""
    key = GatewayKey.objects.select_related("usage_plan").get(pk=key.pk)
    with contextlib.suppress(Exception):  # it may be out of it already
        world.sandbox.client().delete_usage_plan_key(usagePlanId=key.usage_plan.remote_id, keyId=key.remote_id)


def attach(world: World, key: GatewayKey, tier: Tier) -> None:
    """Somebody puts a key into the usage plan of a tier."""
    plan = UsagePlan.objects.get(tier=tier, gateway=key.gateway_id)
    key.refresh_from_db()
    with contextlib.suppress(Exception):  # it may be in it already
        world.sandbox.client().create_usage_plan_key(usagePlanId=plan.remote_id, keyId=key.remote_id, keyType="API_KEY")


def foreign_plan(world: World, *values: str) -> str:
    """Somebody makes a usage plan with keys of these values; its id."""
    aws = world.sandbox.client()
    plan_id: str = aws.create_usage_plan(name=uuid.uuid4().hex, apiStages=[STAGE], throttle={"rateLimit": 500.0, "burstLimit": 500})["id"]
    for value in values:
        key = aws.create_api_key(name=uuid.uuid4().hex, value=value, enabled=True)
        aws.create_usage_plan_key(usagePlanId=plan_id, keyId=key["id"], keyType="API_KEY")
    return plan_id


def proposed(world: World) -> Adoption | None:
    """The adoption of the gateway that waits for a decision, or else for a worker; asked for if there is none."""
    with refusals_are_no_matter():
        adoptions.ask(gateway=world.gateway, actor=SYSTEM)
    world.work()
    return Adoption.objects.filter(gateway=world.gateway, withdrawn_at=None, applied_at=None, error="").first()


def decisions_on(adoption: Adoption, plan_ids: list[str]) -> list[Decision]:
    """What is suggested for these of the plans that can be taken over."""
    return [each for each in suggestions(Proposal.read(adoption.proposal), []) if each.plan in plan_ids]

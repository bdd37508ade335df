"""What must be true once everything is quiet, whatever was broken before.

``violations`` says what is not. Rows are held against what API Gateway holds, against what callers were told (tests.faults.history),
against the audit trail, and against one call of the data plane with each credential.
"""

from __future__ import annotations

import http.client
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from django.db.models import Count, Exists, F, OuterRef, Q
from django.utils import timezone

from keys import values
from keys.models import (
    ApiKey,
    Credential,
    Finding,
    FindingKind,
    FreeSlot,
    Gateway,
    GatewayKey,
    KeyRole,
    Pool,
    Stage,
    Status,
    UsagePlan,
)
from keys.models.room import Room
from keys.models.tickets import tickets_drawn
from keys.sync.gaps import SETTLED_AFTER, sweep_pools
from keys.sync.names import MARK
from tenants.models import AuditEvent, Tenant
from tests.faults.harness import Stack, undone
from tests.faults.history import History, Outcome, Purchase
from tests.faults.tellings import rights, webhooks
from tests.faults.violation import Violation
from tests.support.sandbox import SandboxProcess

SERVED, REFUSED = 200, 403
# Violations named one by one; the rest is counted.
MOST_NAMED = 5


def check(stack: Stack, history: History | None = None, *, note: str = "") -> None:
    """Raise AssertionError that names all that is wrong; ``note`` says how to get there again."""
    found = violations(stack, history)
    assert not found, "\n".join([note, f"{len(found)} violations", *told(found)])


def told(found: Iterable[Violation]) -> list[str]:
    """As lines, a few of each kind of words."""
    kinds: dict[str, list[Violation]] = defaultdict(list)
    for each in found:
        kinds[each.kind].append(each)
    return [str(each) for group in kinds.values() for each in group[:MOST_NAMED]]


def violations(stack: Stack, history: History | None = None) -> list[Violation]:
    """Everything that is wrong now. Call it when the stack is quiet."""
    history = history or History()
    states = stack.sandbox_call(_states)
    caller = Caller(stack.sandbox)
    try:
        return [
            *(Violation("other", words) for words in history.wrong),
            *(Violation("other", f"left to do: {words}") for words in undone()),
            *(found for here, state in states for found in (*_rows_and_keys(here, state), *_plans(here, state), *_strangers(here, state))),
            *_rooms(),
            *_pools(),
            *_stock(),
            *_purchases(history.purchases),
            *_calls(history.purchases, caller),
            *_audit(),
            *webhooks(),
            *rights(stack.sandbox_call(lambda sandbox: sandbox.roles())),
        ]
    finally:
        caller.close()


def settle_pools() -> None:
    """What the sweep does about gaps of purchases that were rolled back, without the minute that it waits until all of them are over."""
    for _round in range(10):
        sweep_pools()
        if all(pool.sweep_seen_at is None and pool.swept_ticket + pool.size > tickets_drawn(pool) for pool in Pool.objects.all()):
            return
        Pool.objects.exclude(sweep_seen_at=None).update(sweep_seen_at=timezone.now() - SETTLED_AFTER - timedelta(seconds=1))
    raise AssertionError("the sweep did not get to the end of the tickets that were drawn")


class Caller:
    """Calls the data plane, on one connection; remembers the answer for each credential."""

    def __init__(self, sandbox: SandboxProcess) -> None:
        self._paths = {
            stage.gateway_id: urlsplit(sandbox.invoke_url(api=stage.rest_api_id, stage=stage.name)).path for stage in Stage.objects.all()
        }
        self._connection = http.client.HTTPConnection(urlsplit(sandbox.url).netloc, timeout=10)
        self._seen: dict[tuple[str, str], int] = {}

    def status(self, value: str, gateway_id: uuid.UUID) -> int:
        """What a call of a stage of this gateway is answered."""
        return self._status(value, self._paths[gateway_id])

    def is_answered(self, value: str) -> bool:
        """Whether any gateway lets it in."""
        return any(self._status(value, path) != REFUSED for path in set(self._paths.values()))

    def _status(self, value: str, path: str) -> int:
        if (value, path) not in self._seen:
            self._connection.request("GET", path, headers={"X-Api-Key": value})
            answer = self._connection.getresponse()
            answer.read()
            self._seen[value, path] = answer.status
        return self._seen[value, path]

    def close(self) -> None:
        self._connection.close()


# --- What API Gateway holds


def _states(sandbox: SandboxProcess) -> list[tuple[list[uuid.UUID], Any]]:
    """What each account and Region holds, and its gateways: the default one's are all that the sandbox does not tell apart."""
    known, here = sandbox.worlds(), defaultdict(list)
    for gateway in Gateway.objects.all():
        name = f"{gateway.account_id}:{gateway.region}"
        here[name if name in known else ""].append(gateway.pk)
    return [(here[name], sandbox.state(world=name)) for name in known]


def _rows_and_keys(here: list[uuid.UUID], state: Any) -> Iterator[Violation]:
    """Each key has a row, each row its key: enabled as wanted, in its plan and in no other."""
    remote = {key["id"]: key for key in state["keys"]}
    rows = {row.remote_id: row for row in GatewayKey.objects.filter(gateway__in=here, removed_at=None).select_related("usage_plan")}
    for remote_id, key in remote.items():
        if remote_id not in rows and key["name"].startswith(MARK):
            yield Violation("orphan", f"API Gateway holds {key['name']} ({remote_id}), which no row explains")
    names = Counter(key["name"] for key in remote.values() if key["name"].startswith(MARK))
    for name, count in names.items():
        if count > 1:
            yield Violation("double", f"API Gateway holds {count} keys named {name}")
    for remote_id, row in rows.items():
        key = remote.get(remote_id)
        if key is None:
            yield Violation("lost", f"row {row.pk} ({row.role}) claims the key {remote_id!r}, which API Gateway does not hold")
        elif key["enabled"] != row.enabled:
            yield Violation("other", f"row {row.pk} wants enabled={row.enabled}; API Gateway has {key['enabled']}")
        elif list(key["plans"]) != [row.usage_plan.remote_id]:
            yield Violation("other", f"row {row.pk} wants plan {row.usage_plan.remote_id}; API Gateway has {key['plans']}")


def _strangers(here: list[uuid.UUID], state: Any) -> Iterator[Violation]:
    """What is told of keys and usage plans of others is told of what is there."""
    there = {each["id"] for each in (*state["keys"], *state["plans"])}
    for each in Finding.objects.filter(gateway__in=here, kind=FindingKind.FOREIGN, resolved_at=None, run__dry_run=False):
        if each.remote_id not in there:
            yield Violation("other", f"somebody's {each.subject} {each.remote_id} is told of, and is gone")


def _plans(here: list[uuid.UUID], state: Any) -> Iterator[Violation]:
    remote = {plan["id"]: plan for plan in state["plans"]}
    for plan in UsagePlan.objects.filter(gateway__in=here).select_related("tier"):
        there = remote.pop(plan.remote_id, None)
        if there is None:
            yield Violation("lost", f"usage plan {plan.remote_id!r} of {plan.tier} is not there")
            continue
        throttle, quota = there.get("throttle", {}), there.get("quota", {})
        seen = (throttle.get("rateLimit"), throttle.get("burstLimit"), quota.get("limit"))
        wanted = (float(plan.tier.throttle_rate), plan.tier.throttle_burst, plan.tier.quota_limit)
        if seen != wanted:
            yield Violation("other", f"usage plan of {plan.tier} has {seen}, and shall have {wanted}")
    for plan in remote.values():
        if plan["name"].startswith(MARK):
            yield Violation("orphan", f"API Gateway holds usage plan {plan['name']}, which no row explains")


# --- Rows among themselves


def _rooms() -> Iterator[Violation]:
    counted = dict(GatewayKey.objects.filter(removed_at=None).order_by().values_list("gateway").annotate(Count("pk")))
    for room in Room.objects.select_related("gateway"):
        if room.held != counted.get(room.gateway_id, 0):
            yield Violation("other", f"{room.gateway} counts {room.held} keys, and has {counted.get(room.gateway_id, 0)}")
        if room.held > room.gateway.capacity:
            yield Violation("other", f"{room.gateway} holds {room.held}, above its cap of {room.gateway.capacity}")


def _pools() -> Iterator[Violation]:
    """Every key of a pool carries, with the places that are offered next, as many as every other, but for one."""
    holder = ApiKey.objects.filter(gateway_key=OuterRef("gateway_key"), slot=OuterRef("slot"))
    for pool in Pool.objects.select_related("tier"):
        live = GatewayKey.objects.filter(pool=pool, ends_at=None, position__lt=pool.size).values_list("pk", flat=True)
        if len(live) != pool.size:
            yield Violation("lost", f"{pool} has {len(live)} live keys of {pool.size}")
        places = Counter(dict.fromkeys(live, 0))
        held = ApiKey.objects.filter(gateway_key__in=live, slot__isnull=False).order_by().values_list("gateway_key")
        places.update(dict(held.annotate(Count("pk"))))
        if not pool.lacks_places:
            free = FreeSlot.objects.filter(pool=pool, gateway_key__in=live).order_by().values_list("gateway_key")
            places.update(dict(free.annotate(Count("pk"))))
            if max(places.values()) - min(places.values()) > 1:
                yield Violation("other", f"{pool} is uneven: {min(places.values())} to {max(places.values())} places a key")
        taken = FreeSlot.objects.filter(Exists(holder), pool=pool).count()
        if taken:
            yield Violation("double", f"{pool} offers {taken} places that are taken")


def spread(pool: Pool) -> int:
    """Tenants on the fullest key of the pool, less those on the emptiest."""
    live = GatewayKey.objects.filter(pool=pool, ends_at=None, position__lt=pool.size)
    standing = Count("api_keys", filter=Q(api_keys__slot__isnull=False))
    loads = list(live.annotate(load=standing).values_list("load", flat=True))
    return max(loads) - min(loads)


def _stock() -> Iterator[Violation]:
    """Siloed keys stand for one living credential, spares are as many as wanted."""
    living = Credential.objects.filter(gateway_key=OuterRef("pk")).filter(Q(ends_at=None) | Q(ends_at__gt=timezone.now()))
    for row in GatewayKey.objects.filter(role=KeyRole.SILO, ends_at=None).filter(~Exists(living)):
        yield Violation("orphan", f"siloed row {row.pk} shall exist for ever, and no living credential stands on it")
    standing = ApiKey.objects.filter(revoked_at=None, slot=None).values("gateway_key").annotate(count=Count("pk")).filter(count__gt=1)
    for each in standing:
        yield Violation("double", f"{each['count']} siloed API keys stand on {each['gateway_key']}")


# --- What callers were told


def _purchases(purchases: list[Purchase]) -> Iterator[Violation]:
    there: dict[str, list[ApiKey]] = defaultdict(list)
    for api_key in ApiKey.objects.all():
        there[api_key.name].append(api_key)
    batches: dict[str, list[Purchase]] = defaultdict(list)
    for each in purchases:
        batches[each.batch].append(each)
        yield from _purchase(each, there.get(each.name, []))
    for batch, items in batches.items():
        if items[0].outcome is Outcome.UNKNOWN and len({bool(there.get(each.name)) for each in items}) > 1:
            yield Violation("lost", f"half of the batch {batch} is there")


def _purchase(purchase: Purchase, found: list[ApiKey]) -> Iterator[Violation]:
    if len(found) > 1:
        yield Violation("double", f"{purchase.name} was bought {len(found)} times ({purchase.outcome})")
    elif purchase.outcome is Outcome.FAILED and found:
        yield Violation("orphan", f"{purchase.name} was refused, and is there")
    elif purchase.outcome is Outcome.OK and [row.pk for row in found] != [purchase.id]:
        yield Violation("lost", f"{purchase.name} was acknowledged as {purchase.id}; there is {found or 'nothing'}")
    elif purchase.outcome is Outcome.OK and not purchase.uncertain:
        [row] = found
        if (row.revoked_at is not None) != purchase.revoked:
            yield Violation("lost", f"{purchase.name} was told revoked={purchase.revoked}; its row says {row.revoked_at}")
        elif not purchase.revoked and (row.disabled_at is not None) != purchase.disabled:
            yield Violation("lost", f"{purchase.name} was told disabled={purchase.disabled}; its row says {row.disabled_at}")


def _calls(purchases: list[Purchase], caller: Caller) -> Iterator[Violation]:
    """Each API key has exactly one credential without an end, and it is answered as the row says; credentials that are over are refused."""
    now = timezone.now()
    told_values = {each.id: each for each in purchases if each.outcome is Outcome.OK and not each.uncertain}
    moved = set(AuditEvent.objects.filter(action="api_key.moved").values_list("target_id", flat=True))
    clear: dict[uuid.UUID, str] = {}
    credentials: dict[uuid.UUID, list[Credential]] = defaultdict(list)
    rows = Credential.objects.select_related("api_key__tenant", "api_key__tier", "api_key__gateway_key", "gateway_key")
    for each in rows.iterator(chunk_size=2000):
        credentials[each.api_key_id].append(each)
        if each.gateway_key_id not in clear:
            clear[each.gateway_key_id] = values.decrypt(each.gateway_key.value_encrypted)
    for each in ApiKey.objects.filter(revoked_at=None).exclude(pk__in=credentials):
        yield Violation("lost", f"{each.name} has no credential")
    for own in credentials.values():
        api_key, current = own[0].api_key, [each for each in own if each.ends_at is None]
        if len(current) != (api_key.revoked_at is None):
            yield Violation("double", f"{api_key.name} has {len(current)} credentials without an end")
        for each in current:
            known = told_values.get(api_key.pk)
            if known and known.value != clear[each.gateway_key_id] and str(api_key.pk) not in moved:
                yield Violation("lost", f"{api_key.name}: its credential is not the one that was told")
            yield from _call(api_key, each.gateway_key, caller.status(clear[each.gateway_key_id], each.gateway_key.gateway_id), now)
        for each in own:
            if _is_over(each, now) and caller.status(clear[each.gateway_key_id], each.gateway_key.gateway_id) != REFUSED:
                yield Violation("orphan", f"a credential of {api_key.name} that is over is answered")
    yield from _told_over(told_values.values(), caller)


def _is_over(credential: Credential, now: datetime) -> bool:
    """Whether nothing may answer it any more: the value of a pool goes on being others'."""
    return credential.ends_at is not None and credential.ends_at <= now and credential.gateway_key.role == KeyRole.SILO


def _told_over(purchases: Iterable[Purchase], caller: Caller) -> Iterator[Violation]:
    for each in purchases:
        if any(caller.is_answered(value) for value in each.ended):
            yield Violation("orphan", f"a credential of {each.name} that was told to be over is answered")


def _call(api_key: ApiKey, gateway_key: GatewayKey, status: int, now: datetime) -> Iterator[Violation]:
    """A siloed key that is disabled is refused; whatever else has a credential is ready, and served."""
    off = gateway_key.role == KeyRole.SILO and api_key.status(now) is Status.DISABLED
    if api_key.status(now) not in ({Status.DISABLED} if off or api_key.disabled_at else {Status.READY}):
        yield Violation("other", f"{api_key.name} ({api_key.tier}) is shown as {api_key.status(now)}")
    if status != (REFUSED if off else SERVED):
        yield Violation("other" if off else "lost", f"{api_key.name} ({api_key.tier}) is answered {status}")


def _audit() -> Iterator[Violation]:
    """What the rows say was done is told by the audit trail, as often as it was done."""
    told_of: dict[str, Counter[str]] = defaultdict(Counter)
    events = AuditEvent.objects.filter(target_type__in=["apikey", "tenant"]).order_by()
    for target, action, count in events.values_list("target_id", "action").annotate(Count("pk")):
        told_of[target][action] = count
    for api_key in ApiKey.objects.annotate(made=Count("credentials")):
        trail = told_of[str(api_key.pk)]
        seen = (
            trail["api_key.bought"] + trail["api_key.adopted"],
            trail["api_key.revoked"],
            trail["api_key.disabled"] - trail["api_key.enabled"],
            trail["api_key.rotated"] + trail["api_key.moved"] + 1,
        )
        wanted = (1, int(api_key.revoked_at is not None), int(api_key.disabled_at is not None), api_key.made)
        if seen != wanted:
            yield Violation("other", f"{api_key.name}: bought, revoked, disabled, credentials are {wanted}; audited {seen}")
    for tenant in Tenant.objects.all():
        trail = told_of[str(tenant.pk)]
        if trail["tenant.suspended"] - trail["tenant.resumed"] != int(tenant.suspended_at is not None):
            yield Violation("other", f"{tenant} is suspended: {tenant.suspended_at}; audited {dict(trail)}")
    for gateway in Gateway.objects.filter(gateway_keys__synced_revision__gt=F("gateway_keys__revision")).distinct():
        yield Violation("other", f"{gateway}: a key was synced to a revision that nobody wanted")

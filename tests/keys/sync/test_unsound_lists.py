"""Lists that lie on their way to us: nothing is concluded from them, and nothing is changed."""

import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from keys.models import Finding, Gateway, GatewayKey, Tier, UsagePlan
from keys.sync.converge import converge, reconcile
from keys.sync.names import mark_of
from tests.faults.proxy import Proxy
from tests.keys.sync.conftest import remote_keys, retry_now
from tests.support.factories import buy, make_tenant, make_tier
from tests.support.sandbox import SandboxProcess

Items = list[dict[str, Any]]


def on_items(change: Callable[[Items], Any]) -> Callable[[bytes], bytes]:
    """The answer with its items changed, whatever they are called in JSON."""

    def changed(body: bytes) -> bytes:
        answer = json.loads(body)
        name = next(name for name in ("item", "items") if name in answer)
        answer[name] = change(answer[name])
        return json.dumps(answer).encode()

    return changed


def each(**changes: Any) -> Callable[[Items], Items]:
    """Each item with these fields, which are made from what they were."""
    return lambda items: [{**item, **{name: make(item.get(name)) for name, make in changes.items()}} for item in items]


LIES: dict[str, Callable[[bytes], bytes]] = {
    "cut off in the middle": lambda body: body[: len(body) // 2],
    "no JSON": lambda body: b"<html>Bad gateway</html>",
    "empty": on_items(lambda items: []),
    "short at its end": on_items(lambda items: items[:-1]),
    "short at its beginning": on_items(lambda items: items[1:]),
    "a hole": on_items(lambda items: items[:1] + items[2:]),
    "a page twice": on_items(lambda items: items + items),
    "one item twice": on_items(lambda items: [*items, items[0]]),
    "items that are none": on_items(lambda items: "none"),
    "items without ids": on_items(lambda items: [{name: value for name, value in item.items() if name != "id"} for item in items]),
    "other ids": on_items(each(id=lambda value: f"{value}x")),
}
# What one of these leaves out may be the one key that is not ours: then there is nothing to notice, and nothing is concluded.
SHORT = {"short at its end", "short at its beginning", "a hole"}
OF_KEYS = {
    "names mixed up": on_items(each(name=lambda value: f"{value}x")),
    "flags mixed up": on_items(each(enabled=lambda value: not value)),
}
OF_PLANS = {
    "names mixed up": on_items(each(name=lambda value: f"{value}x")),
    "no limits": on_items(each(throttle=lambda _value: None)),
    "no stages": on_items(each(apiStages=lambda _value: [])),
}
LISTS = {
    "keys": (r"/apikeys$", {**LIES, **OF_KEYS}),
    "plans": (r"/usageplans$", {**LIES, **OF_PLANS}),
    "members": (r"/usageplans/[^/]+/keys$", LIES),
}


@pytest.fixture
def proxy(sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    with Proxy() as between:
        between.stand_before(SimpleNamespace(sandbox=sandbox))
        monkeypatch.setenv("AWS_ENDPOINT_URL_API_GATEWAY", between.url)
        yield between


@pytest.fixture
def busy(converged: Gateway, tier: Tier, stage: object) -> Gateway:
    """Two usage plans of three keys each."""
    make_tier(stage=stage, pool_size=3)
    for _ in range(3):
        buy(make_tenant(), tier)
    converge(converged.pk)
    return converged


def rows() -> list[Any]:
    return [list(GatewayKey.objects.order_by("pk").values()), list(UsagePlan.objects.order_by("pk").values())]


@pytest.mark.parametrize("which", LISTS)
def test_nothing_is_concluded_from_a_list_that_lies(busy: Gateway, sandbox: SandboxProcess, proxy: Proxy, which: str) -> None:
    stray = sandbox.client().create_api_key(name=f"{mark_of(busy.pk)}99999999-stray", enabled=True)["id"]
    rows_before, keys_before, plans_before = rows(), remote_keys(sandbox), sandbox.state()["plans"]
    pattern, lies = LISTS[which]
    believed = []
    for name, lie in lies.items():
        proxy.mangle(pattern, lie)
        run = reconcile(busy.pk)
        assert proxy.mangled, name
        retry_now()
        assert run is not None
        if run.findings.exists() or (not run.error and name not in SHORT):
            believed.append(name)
        assert rows() == rows_before, name
        assert (remote_keys(sandbox), sandbox.state()["plans"]) == (keys_before, plans_before), name

    assert believed == []
    assert Finding.objects.count() == 0

    proxy.truth()
    run = reconcile(busy.pk)
    assert run is not None
    assert [finding.remote_id for finding in run.findings.all()] == [stray]


def test_foreign_key_that_a_list_calls_ours_is_not_touched(busy: Gateway, sandbox: SandboxProcess, proxy: Proxy) -> None:
    theirs = sandbox.client().create_api_key(name="theirs", enabled=True)["id"]
    ours = f"{mark_of(busy.pk)}99999999-stray"
    proxy.mangle(r"/apikeys$", lambda body: body.replace(b'"theirs"', f'"{ours}"'.encode()))

    run = reconcile(busy.pk)

    assert run is not None
    assert [(finding.kind, finding.remote_id) for finding in run.findings.all()] == [("extra", theirs)]
    assert "Left alone" in run.findings.get().action
    assert remote_keys(sandbox)[theirs]["enabled"] is True

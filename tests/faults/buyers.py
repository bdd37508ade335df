"""Tenants who buy over the REST API and use what they bought, while things break: they ask again until they know, as good clients do."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.faults.harness import Stack, Web, pace
from tests.faults.history import History, Outcome, Purchase
from tests.support.web import Answer

# After so long without an answer a request counts as UNKNOWN.
PATIENCE_SECONDS = 60
# One request in so many is given up at its first failure: its caller never learns what came of it.
GIVES_UP = 20
# One request in so many is sent once more after its answer: the same one has to come.
ASKS_AGAIN = 15
REPLAYED = {200, 201}


@dataclass(frozen=True)
class Tenant:
    """One tenant's access; ``secret``: a token with all scopes."""

    id: uuid.UUID
    secret: str


class Buyer(threading.Thread):
    """Buys ``purchases`` API keys for its tenants over ``seconds``, and rotates, disables, enables and revokes some of them."""

    def __init__(self, name: str, rng: random.Random, stack: Stack, history: History, tenants: Sequence[Tenant], tiers: dict[str, float]):
        super().__init__(name=name, daemon=True)
        self.rng, self.stack, self.history, self.tenants = rng, stack, history, tenants
        self.tiers = tiers
        self.purchases, self.seconds = 0, 0.0
        self.failure: BaseException | None = None
        self.aborted = threading.Event()  # whoever sets it wants no more of it
        self._mine: list[tuple[Tenant, Purchase]] = []

    def run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - the main thread raises it
            self.failure = error

    def _work(self) -> None:
        began, done = time.monotonic(), 0
        while done < self.purchases and not self.aborted.is_set():
            tenant = self.rng.choice(self.tenants)
            count = min(self.purchases - done, round(2 ** self.rng.uniform(0, 8)))
            self.buy(tenant, count)
            done += count
            for _operation in range(self.rng.randint(0, 3)):
                self._operate()
            ahead = done / self.purchases * self.seconds - (time.monotonic() - began)
            pace(min(ahead, 5.0))

    def buy(self, tenant: Tenant, count: int, tier: str = "") -> None:
        """One request for ``count`` API keys, of ``tier`` or mixed."""
        batch = uuid.uuid4().hex
        names, weights = zip(*self.tiers.items(), strict=True)
        chosen = [tier] * count if tier else self.rng.choices(names, weights, k=count)
        asked = [Purchase(name=f"{batch}-{index}", tenant_id=tenant.id, tier=each, batch=batch) for index, each in enumerate(chosen)]
        body = {"items": [{"tier": each.tier, "name": each.name} for each in asked]}
        answer = self._send("buy", tenant, "POST", "/api/v1/keys/batch", body, batch)
        if answer is not None:
            self._told(asked, answer)
        self.history.bought(asked)
        siloed = [each for each in asked if each.outcome is Outcome.OK]
        self._mine += [(tenant, each) for each in self.rng.sample(siloed, min(3, len(siloed)))]

    def _told(self, asked: list[Purchase], answer: Answer) -> None:
        if answer.status != 200:
            for each in asked:
                each.outcome = Outcome.FAILED
            return
        for each, outcome in zip(asked, answer.json()["outcomes"], strict=True):
            each.outcome = Outcome.OK if outcome["status"] == 201 else Outcome.FAILED
            if outcome["key"]:
                each.id, each.value = uuid.UUID(outcome["key"]["id"]), outcome["key"]["credential"]

    def _operate(self) -> None:
        """One change of an API key that was bought before. What is refused (a pooled tier, a key that is preparing) changes nothing."""
        if not self._mine:
            return
        tenant, purchase = self.rng.choice(self._mine)
        if purchase.revoked or purchase.uncertain:
            return
        path = f"/api/v1/keys/{purchase.id}"
        act = self.rng.choice(["rotate", "rotate", "disable", "enable", "revoke"])
        if act == "revoke":
            answer = self._send(act, tenant, "DELETE", path, None)
        else:
            body = {"grace_seconds": 0} if act == "rotate" else {}
            answer = self._send(act, tenant, "POST", f"{path}/{act}", body, uuid.uuid4().hex)
        if answer is None:
            purchase.uncertain = True
        elif answer.status in REPLAYED:
            self._changed(purchase, act, answer.json())

    def _changed(self, purchase: Purchase, act: str, body: Any) -> None:
        if act == "rotate":
            purchase.ended.append(purchase.value)
            purchase.value = body["credential"]
        elif act == "revoke":
            purchase.revoked = True
            if body["notice"] is None:  # else others go on using the same value
                purchase.ended.append(purchase.value)
        else:
            purchase.disabled = act == "disable"

    def _send(self, act: str, tenant: Tenant, method: str, path: str, body: Any, once: str = "") -> Answer | None:
        """Ask until there is an answer that means something; None when it never came."""
        headers = {"Authorization": f"Bearer {tenant.secret}", "Content-Type": "application/json"}
        if once:
            headers["Idempotency-Key"] = once
        data = None if body is None else json.dumps(body).encode()
        patience = 0.0 if self.rng.randrange(GIVES_UP) == 0 else PATIENCE_SECONDS
        until = time.monotonic() + patience
        while True:
            answer = self._try(self.rng.choice(self.stack.webs), method, path, data, headers)
            if answer is not None and answer.status < 500:
                outcome = Outcome.OK if answer.status in REPLAYED else Outcome.FAILED
                self.history.operation(act, outcome)
                if once and self.rng.randrange(ASKS_AGAIN) == 0:
                    self._ask_again(method, path, data, headers, answer)
                return answer
            if answer is not None and answer.status != 503:
                self.history.is_wrong(f"{method} {path} was answered {answer.status}: {answer.body[:300]!r}")
            if time.monotonic() > until or self.aborted.is_set():
                self.history.operation(act, Outcome.UNKNOWN)
                return None
            pace(self.rng.uniform(0.1, 0.4))

    def _ask_again(self, method: str, path: str, data: bytes | None, headers: dict[str, str], before: Answer) -> None:
        """The same Idempotency-Key has one outcome. A refusal that was no outcome of work may be another one now."""
        again = self._try(self.rng.choice(self.stack.webs), method, path, data, headers)
        if again is not None and again.status < 500 and before.status in REPLAYED and again.body != before.body:
            self.history.is_wrong(f"{method} {path} was answered otherwise the second time: {again.status}")

    @staticmethod
    def _try(web: Web, method: str, path: str, data: bytes | None, headers: dict[str, str]) -> Answer | None:
        try:
            return web.call(method, path, data, **headers)
        except (OSError, http.client.HTTPException):
            return None

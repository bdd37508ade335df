"""Sending what is due: order, retries, parking, replays, and receivers that do not play along. Real HTTP on this machine."""

from __future__ import annotations

import json
import random
import threading
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from standardwebhooks import Webhook, WebhookVerificationError

from tenants.audit import SYSTEM
from tenants.models import AuditEvent, DeliveryState, EventType, Tenant, WebhookDelivery, WebhookEndpoint, WebhookEvent
from tenants.webhooks import deliver, endpoints, queue, schedule, selectors
from tenants.webhooks.deliver import deliver_due
from tenants.webhooks.transport import Answer
from tests.support.processes import at_once
from tests.support.receiver import Receiver, a_receiver
from tests.support.services import wait_until
from tests.tenants.webhooks.conftest import Clock, tell

pytestmark = pytest.mark.django_db(transaction=True)

OK = Answer(status=204, error="", milliseconds=1)
DOWN = Answer(status=None, error="The receiver refused the connection: nothing listens there.", milliseconds=1)


def states() -> Counter[DeliveryState]:
    return Counter(delivery.state for delivery in WebhookDelivery.objects.all())


class Wire:
    """What would be sent, without a network: for tests of years and thousands."""

    def __init__(self, answer: Answer = OK) -> None:
        self.answer = answer
        self.sent: list[tuple[str, dict[str, Any], Mapping[str, str]]] = []

    def __call__(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        self.sent.append((url, json.loads(body), headers))
        return self.answer

    def subjects(self) -> list[str]:
        return [body["data"]["id"] for _url, body, _headers in self.sent]


# What arrives


def test_delivered_as_standard_webhooks_has_it(acme: Tenant, receiver: Receiver) -> None:
    _endpoint, secret = endpoints.register(tenant=acme, url=receiver.url(), types=["key.revoked"], actor=SYSTEM)
    event = tell(acme, name="Läden")

    assert deliver_due() == 1

    [request] = receiver.received
    told = Webhook(secret).verify(request.body, request.headers)
    assert told == {"type": "key.revoked", "timestamp": told["timestamp"], "data": {"id": "key-1", "name": "Läden"}}
    assert told["timestamp"] == event.created_at.isoformat(timespec="microseconds").replace("+00:00", "Z")
    assert request.id == str(event.pk)
    assert request.headers["content-type"] == "application/json"
    delivery = WebhookDelivery.objects.get()
    assert (delivery.state, delivery.attempts, delivery.last_status, delivery.last_error) == (DeliveryState.DELIVERED, 1, 204, "")
    assert WebhookEndpoint.objects.get().last_delivered_at == delivery.delivered_at
    assert deliver_due() == 0


def test_forged_body_and_foreign_secret_do_not_verify(acme: Tenant, receiver: Receiver, register: Callable[..., WebhookEndpoint]) -> None:
    _endpoint, secret = endpoints.register(tenant=acme, url=receiver.url(), types=["key.revoked"], actor=SYSTEM)
    _other, other_secret = endpoints.register(tenant=acme, url=receiver.url(), types=["key.ready"], actor=SYSTEM)
    tell(acme)
    deliver_due()
    [request] = receiver.received

    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(request.body.replace(b"key-1", b"key-2"), request.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(other_secret).verify(request.body, request.headers)


def test_both_secrets_sign_during_the_grace_period_of_a_rotation(acme: Tenant, clock: Clock) -> None:
    endpoint, old = endpoints.register(tenant=acme, url="https://hooks.example.com/", types=["key.revoked"], actor=SYSTEM)
    new = endpoints.rotate_secret(endpoint=endpoint, actor=SYSTEM)
    endpoint.refresh_from_db()
    event = tell(acme)

    headers, body = deliver.request_for(endpoint, event, timezone.now())
    assert len(headers["webhook-signature"].split()) == 2
    for secret in (old, new):
        Webhook(secret).verify(body, dict(headers))

    headers, body = deliver.request_for(endpoint, event, timezone.now() + endpoints.SECRET_GRACE)
    assert len(headers["webhook-signature"].split()) == 1


def test_test_is_sent_whatever_types_are_asked_for(acme: Tenant, receiver: Receiver, register: Callable[..., WebhookEndpoint]) -> None:
    endpoint = register(receiver.url(), ["quota.80"])

    delivery = endpoints.send_test(endpoint=endpoint, actor=SYSTEM)
    deliver_due()

    [request] = receiver.received
    assert json.loads(request.body)["type"] == "webhook.test"
    delivery.refresh_from_db()
    assert delivery.state is DeliveryState.DELIVERED
    assert AuditEvent.objects.filter(action="webhook.tested").count() == 1


def test_replay_has_the_same_id_and_a_fresh_signature(acme: Tenant, receiver: Receiver) -> None:
    _endpoint, secret = endpoints.register(tenant=acme, url=receiver.url(), types=["key.revoked"], actor=SYSTEM)
    tell(acme)
    deliver_due()

    for _ in range(3):
        endpoints.replay(delivery=WebhookDelivery.objects.get(), actor=SYSTEM)
        deliver_due()

    assert len({request.id for request in receiver.received}) == 1
    assert len(receiver.received) == 4
    assert len({request.body for request in receiver.received}) == 1
    for request in receiver.received:
        Webhook(secret).verify(request.body, request.headers)


# Failures


def test_failure_is_written_down_and_tried_again(
    acme: Tenant, receiver: Receiver, register: Callable[..., WebhookEndpoint], clock: Clock
) -> None:
    register(receiver.url())
    tell(acme)
    receiver.answer = lambda _request, _socket: 500

    deliver_due()
    delivery = WebhookDelivery.objects.get()
    assert (delivery.state, delivery.attempts, delivery.last_status) == (DeliveryState.WAITING, 1, 500)
    assert delivery.last_error == "The receiver answered 500."
    assert delivery.claimed_until is None
    assert WebhookEndpoint.objects.get().last_failed_at is not None
    assert deliver_due() == 0  # not due yet

    receiver.answer = lambda _request, _socket: 200
    clock.advance(minutes=1)
    deliver_due(clock)
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts, delivery.last_error) == (DeliveryState.DELIVERED, 2, "")
    assert WebhookEndpoint.objects.get().failures == 0


def test_410_disables_the_endpoint(acme: Tenant, receiver: Receiver, register: Callable[..., WebhookEndpoint]) -> None:
    register(receiver.url())
    tell(acme), tell(acme)
    receiver.answer = lambda _request, _socket: 410

    deliver_due()

    endpoint = WebhookEndpoint.objects.get()
    assert endpoint.disabled_at is not None
    assert len(receiver.received) == 1
    assert states() == {DeliveryState.PARKED: 1, DeliveryState.WAITING: 1}
    assert AuditEvent.objects.get(action="webhook.disabled").data == {"answer": 410}
    receiver.answer = lambda _request, _socket: 200

    endpoints.enable(endpoint=endpoint, actor=SYSTEM)
    deliver_due()

    assert states() == {DeliveryState.PARKED: 1, DeliveryState.DELIVERED: 1}


def test_deliveries_of_a_disabled_endpoint_wait_and_are_parked_in_the_end(
    acme: Tenant, register: Callable[..., WebhookEndpoint], clock: Clock
) -> None:
    endpoint = register()
    tell(acme)
    endpoints.disable(endpoint=endpoint, actor=SYSTEM)
    wire = Wire()

    clock.advance(hours=71)
    deliver_due(clock, wire)
    assert states() == {DeliveryState.WAITING: 1}
    clock.advance(hours=3)
    deliver_due(clock, wire)

    assert states() == {DeliveryState.PARKED: 1}
    assert wire.sent == []


def test_secret_that_cannot_be_read_is_a_failure_of_its_own(acme: Tenant, register: Callable[..., WebhookEndpoint], settings: Any) -> None:
    register()
    tell(acme)
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]

    deliver_due(post=Wire())

    assert "ENCRYPTION_KEYS" in WebhookDelivery.objects.get().last_error


def test_killed_workers_claim_runs_out(acme: Tenant, register: Callable[..., WebhookEndpoint], clock: Clock) -> None:
    endpoint = register()
    tell(acme)
    assert len(queue.claim(endpoint, clock.now, 4)) == 1  # and then it is killed
    wire = Wire()

    assert deliver_due(clock, wire) == 0
    clock.advance(seconds=queue.CLAIM.total_seconds() + 1)

    assert deliver_due(clock, wire) == 1


def test_late_failure_does_not_disturb_who_has_the_claim_now(acme: Tenant, register: Callable[..., WebhookEndpoint], clock: Clock) -> None:
    endpoint = register()
    tell(acme)
    [slow] = queue.claim(endpoint, clock.now, 1)
    clock.advance(minutes=5)
    [quick] = queue.claim(endpoint, clock.now, 1)

    queue.note(slow, DOWN, clock.now)
    delivery = WebhookDelivery.objects.get()
    assert (delivery.claimed_until, delivery.attempts) == (quick.claimed_until, 0)
    queue.note(quick, OK, clock.now)

    assert states() == {DeliveryState.DELIVERED: 1}


def test_refuses_to_send_inside_a_transaction() -> None:
    with transaction.atomic(), pytest.raises(RuntimeError, match="transaction"):
        deliver_due()


# Receiver down for three days (fault matrix, row 16)


def test_receiver_down_for_three_days(acme: Tenant, register: Callable[..., WebhookEndpoint], clock: Clock) -> None:
    endpoint = register()
    start = clock.now
    for number in range(5):
        for subject in ("one", "two", "three"):
            tell(acme, subject, number=number)
    WebhookDelivery.objects.update(created_at=start, next_try_at=start)
    wire = Wire(DOWN)
    tries: dict[str, list[float]] = defaultdict(list)

    while clock.now < start + timedelta(hours=74):
        seen = len(wire.sent)
        deliver_due(clock, wire)
        for _url, body, _headers in wire.sent[seen:]:
            assert body["data"]["number"] == 0 or clock.now >= start + schedule.TRIED_FOR  # the first of each subject, and no other
            tries[body["data"]["id"]].append((clock.now - start).total_seconds())
        waiting = queue.waiting().order_by("next_try_at").first()
        clock.now = max(
            clock.now + timedelta(seconds=20), min(waiting.next_try_at, clock.now + timedelta(hours=1)) if waiting else clock.now
        )

    assert states() == {DeliveryState.PARKED: 15}
    counts = selectors.counts_of([endpoint])[endpoint.pk]
    assert (counts.waiting, counts.parked) == (0, 15)
    first = {subject: [at for at in moments if at <= 72 * 3600] for subject, moments in tries.items()}
    assert set(first) == {"one", "two", "three"}
    for moments in first.values():
        assert 15 <= len(moments) <= 80
        assert max(moments) >= 66 * 3600  # tried until the end
        gaps = [later - earlier for earlier, later in pairwise(moments)]
        assert max(gaps[:4]) < 300
        assert max(gaps) <= 6 * 3600 + 3700
    assert len({tuple(moments[3:6]) for moments in first.values()}) == 3  # jitter: they do not come back together
    delivery = WebhookDelivery.objects.filter(subject="one").order_by("pk")[0]
    assert delivery.parked_at is not None
    assert delivery.parked_at >= start + timedelta(hours=72)
    assert "nothing listens" in delivery.last_error

    # It is back: what is replayed goes out in order, under the same ids.
    wire = Wire()
    ids = {event.pk for event in WebhookEvent.objects.all()}
    for parked in WebhookDelivery.objects.order_by("-pk"):
        endpoints.replay(delivery=parked, actor=SYSTEM)
    WebhookDelivery.objects.update(next_try_at=clock.now, created_at=clock.now)
    deliver_due(clock, wire)

    assert states() == {DeliveryState.DELIVERED: 15}
    for subject in ("one", "two", "three"):
        assert [body["data"]["number"] for _url, body, _headers in wire.sent if body["data"]["id"] == subject] == [0, 1, 2, 3, 4]
    assert {headers["webhook-id"] for _url, _body, headers in wire.sent} == {str(pk) for pk in ids}


def test_retries_grow_from_seconds_to_hours_with_full_jitter() -> None:
    now = timezone.now()
    delivery = WebhookDelivery(created_at=now)

    def delays(attempts: int) -> list[float]:
        moments = [schedule.next_try(delivery, attempts, now) for _ in range(500)]
        return [(moment - now).total_seconds() for moment in moments if moment is not None]

    assert max(delays(1)) <= 10
    assert 1 <= min(delays(4)) < 10
    assert 60 < max(delays(4)) <= 80
    assert 3600 < max(delays(25)) <= 6 * 3600
    assert len(set(delays(10))) > 400
    assert schedule.next_try(delivery, 30, now + timedelta(hours=71, minutes=59)) <= now + schedule.TRIED_FOR
    assert schedule.next_try(delivery, 30, now + timedelta(hours=72)) is None


# Order, and endpoints that do not hold up one another


def test_later_ones_of_a_subject_wait_for_the_earlier(
    acme: Tenant, receiver: Receiver, register: Callable[..., WebhookEndpoint], clock: Clock
) -> None:
    register(receiver.url())
    for number in range(3):
        tell(acme, "stuck", number=number)
        tell(acme, "free", number=number)
    receiver.answer = lambda request, _socket: 500 if b"stuck" in request.body else 200

    deliver_due(clock)
    assert [json.loads(request.body)["data"] for request in receiver.received if b"stuck" in request.body] == [{"id": "stuck", "number": 0}]
    assert [json.loads(request.body)["data"]["number"] for request in receiver.received if b"free" in request.body] == [0, 1, 2]
    receiver.received.clear()
    receiver.answer = lambda _request, _socket: 200
    clock.advance(minutes=2)
    deliver_due(clock)

    assert [json.loads(request.body)["data"]["number"] for request in receiver.received] == [0, 1, 2]


def test_hanging_receiver_does_not_hold_up_another(acme: Tenant, register: Callable[..., WebhookEndpoint]) -> None:
    release = threading.Event()
    with a_receiver() as slow, a_receiver() as quick:
        slow.answer = lambda _request, _socket: (release.wait(10), 200)[1]
        register(slow.url()), register(quick.url())
        for number in range(40):
            tell(acme, f"key-{number}")
        passing = threading.Thread(target=run_pass)
        passing.start()
        try:
            wait_until(lambda: len(quick.received) == 40, what="all deliveries of the quick one")
            assert len(slow.received) <= deliver.AN_ENDPOINT
        finally:
            release.set()
            passing.join()

    assert states() == {DeliveryState.DELIVERED: 80}


def run_pass() -> None:
    try:
        deliver_due()
    finally:
        connection.close()


def test_one_pass_a_process(acme: Tenant, receiver: Receiver, register: Callable[..., WebhookEndpoint]) -> None:
    register(receiver.url())
    release = threading.Event()
    receiver.answer = lambda _request, _socket: (release.wait(10), 200)[1]
    tell(acme, "first")

    def turn() -> None:
        try:
            deliver.take_turn()
        finally:
            connection.close()

    passing = threading.Thread(target=turn)
    passing.start()
    wait_until(lambda: receiver.received, what="the first request")
    started = time.monotonic()
    tell(acme, "second")
    deliver.take_turn()  # leaves at once: the thread above runs one, and sees the second by itself
    assert time.monotonic() - started < 5
    wait_until(lambda: len(receiver.received) == 2, what="the second request")
    release.set()
    passing.join()

    assert states() == {DeliveryState.DELIVERED: 2}


def test_endpoint_that_fails_rests_however_much_is_waiting(acme: Tenant, register: Callable[..., WebhookEndpoint], clock: Clock) -> None:
    register()
    for number in range(200):
        tell(acme, f"key-{number}")
    clock.now = timezone.now()
    down = Wire(DOWN)

    for _ in range(60):  # ten minutes
        deliver_due(clock, down)
        clock.advance(seconds=10)

    assert len(down.sent) < 60
    assert WebhookDelivery.objects.filter(attempts__gt=0).count() < 60
    clock.advance(minutes=2)
    up = Wire()
    for _ in range(3):
        deliver_due(clock, up)
        clock.advance(hours=7)
    assert states() == {DeliveryState.DELIVERED: 200}


def test_work_does_not_grow_with_what_is_waiting(acme: Tenant, register: Callable[..., WebhookEndpoint], clock: Clock) -> None:
    """A claim looks at a window of rows, whatever is waiting and whatever blocks it."""
    endpoint = register()
    now = timezone.now()
    count = 20_000
    events = WebhookEvent.objects.bulk_create(
        [WebhookEvent(tenant=acme, type=EventType.KEY_READY, subject="same", data={}, created_at=now) for _ in range(count)],
        batch_size=2000,
    )
    WebhookDelivery.objects.bulk_create(
        [
            WebhookDelivery(
                endpoint=endpoint, event=event, subject="same" if number % 2 else f"key-{number}", created_at=now, next_try_at=now
            )
            for number, event in enumerate(events)
        ],
        batch_size=2000,
    )
    clock.now = timezone.now()

    started = time.monotonic()
    for _ in range(20):
        queue.endpoints_with_work(clock.now, after=None, busy=[], limit=16)
        assert queue.claim(endpoint, clock.now, 4)

    assert (time.monotonic() - started) / 20 < 0.5
    with CaptureQueriesContext(connection) as captured:
        queue.claim(endpoint, clock.now, 4)
    assert len([query for query in captured if "BEGIN" not in query["sql"] and "COMMIT" not in query["sql"]]) <= 8


def test_old_events_are_pruned_with_their_deliveries(acme: Tenant, register: Callable[..., WebhookEndpoint], clock: Clock) -> None:
    register()
    for number in range(3):
        tell(acme, f"key-{number}")
    deliver_due(clock, Wire())
    WebhookEvent.objects.filter(subject__in=["key-0", "key-1"]).update(created_at=clock.now - timedelta(days=31))
    endpoints.replay(delivery=WebhookDelivery.objects.get(subject="key-1"), actor=SYSTEM)

    assert queue.prune(clock.now) == 1

    assert set(WebhookDelivery.objects.values_list("subject", flat=True)) == {"key-1", "key-2"}
    assert WebhookEvent.objects.count() == 2


# Several workers


@pytest.mark.postgres
def test_eight_processes_never_send_one_delivery_twice(acme: Tenant, register: Callable[..., WebhookEndpoint]) -> None:
    for _ in range(3):
        register()
    for number in range(15):
        for subject in range(5):
            tell(acme, f"key-{subject}", number=number)

    def work(_number: int) -> list[tuple[str, float, str, int]]:
        sent: list[tuple[str, float, str, int]] = []

        def post(url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
            data = json.loads(body)["data"]
            time.sleep(0.002)
            sent.append((headers["webhook-id"], time.monotonic(), data["id"], data["number"]))
            return OK

        while queue.waiting().exists():
            deliver_due(post=post)
        return sent

    sent = [each for of_process in at_once(work) for each in of_process]

    assert set(Counter(event for event, *_rest in sent).values()) == {3}  # each event to each of three endpoints
    assert len(sent) == 225
    assert states() == {DeliveryState.DELIVERED: 225}
    for subject in range(5):
        order = [number for _event, _at, of, number in sorted(sent, key=lambda each: each[1]) if of == f"key-{subject}"]
        # Three endpoints run independently: each number comes three times, and none before three endpoints could have got there.
        for endpoint_turn in range(3):
            positions = [[place for place, number in enumerate(order) if number == wanted][endpoint_turn] for wanted in range(15)]
            assert positions == sorted(positions)


@pytest.mark.postgres
def test_eight_processes_with_a_receiver_that_fails_now_and_then(
    acme: Tenant, register: Callable[..., WebhookEndpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Retries, rests, parking and pruning in all of them at once: no deadlock, and each ends delivered."""
    for _ in range(2):
        register()
    for number in range(30):
        for subject in range(4):
            tell(acme, f"key-{subject}", number=number)
    monkeypatch.setattr(schedule, "FIRST_SECONDS", 1 / 2**40)  # a second, the shortest
    monkeypatch.setattr(schedule, "LONGEST_REST_SECONDS", 0.05)
    WebhookEvent.objects.filter(data__number=0).update(created_at=timezone.now() - timedelta(days=31))

    def work(number: int) -> list[str]:
        chance = random.Random(number)
        delivered = []

        def post(_url: str, _body: bytes, headers: Mapping[str, str]) -> Answer:
            if chance.random() < 0.2:
                return DOWN
            delivered.append(headers["webhook-id"])
            return OK

        begun = timezone.now()
        while queue.waiting().exists():
            # Time flies, so that nobody waits for a second that is the shortest there is.
            deliver_due(lambda: begun + 20 * (timezone.now() - begun), post)
        return delivered

    delivered = [event for of_process in at_once(work) for event in of_process]

    assert set(Counter(delivered).values()) == {2}
    assert len(delivered) == 240
    assert set(states()) <= {DeliveryState.DELIVERED}


@pytest.mark.postgres
def test_two_processes_with_a_real_receiver(acme: Tenant, receiver: Receiver, register: Callable[..., WebhookEndpoint]) -> None:
    register(receiver.url())
    for number in range(60):
        tell(acme, f"key-{number % 20}", number=number)

    def work(_number: int) -> int:
        tried = 0
        while queue.waiting().exists():
            tried += deliver_due()
        return tried

    assert sum(at_once(work, processes=2)) == 60
    assert set(Counter(request.id for request in receiver.received).values()) == {1}
    for subject in range(20):
        told = [json.loads(request.body)["data"] for request in receiver.received]
        assert [data["number"] for data in told if data["id"] == f"key-{subject}"] == [subject, subject + 20, subject + 40]


def test_slow_receivers_of_one_tenant_leave_threads_to_others(
    acme: Tenant, outsiders: Tenant, register: Callable[..., WebhookEndpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where they answer at last with 200, and so never rest."""
    slow = [register(f"https://slow{number}.example.com/") for number in range(10)]
    quick = register("https://quick.example.com/", tenant=outsiders)
    monkeypatch.setattr(deliver, "_slow", {each.pk for each in slow})
    for number in range(4):
        tell(acme, f"{number}")
    for number in range(30):
        tell(outsiders, f"other {number}")
    release, lock = threading.Event(), threading.Lock()
    hanging: list[str] = []
    quick_ones: list[str] = []
    most = 0

    def post(url: str, _body: bytes, _headers: Mapping[str, str]) -> Answer:
        nonlocal most
        if url == quick.url:
            quick_ones.append(url)
            if len(quick_ones) == 30:
                release.set()
            return OK
        with lock:
            hanging.append(url)
            most = max(most, len(hanging))
        in_time = release.wait(20)
        with lock:
            hanging.remove(url)
        assert in_time, "The slow ones held up the quick one."
        return Answer(status=200, error="", milliseconds=11_000)

    assert deliver_due(post=post) == 70
    assert most == deliver.SLOW_ENDPOINTS
    assert states() == {DeliveryState.DELIVERED: 70}


def test_pace_is_remembered_for_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliver, "_slow", set())
    monkeypatch.setattr(deliver, "MOST_SLOW", 3)
    ids = [uuid.uuid4() for _ in range(4)]
    late = Answer(status=200, error="", milliseconds=deliver.SLOW_MILLISECONDS + 1)
    for pk in ids[:3]:
        deliver._remember_pace(pk, late)
    assert deliver._slow == set(ids[:3])
    deliver._remember_pace(ids[0], OK)
    assert deliver._slow == set(ids[1:3])
    for pk in (ids[0], ids[3]):
        deliver._remember_pace(pk, late)
    assert len(deliver._slow) <= 3

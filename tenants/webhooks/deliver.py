"""Sending what is due.

One pass at a time runs in a process, however many messages ask for it: the others leave at once. So a worker that also keeps gateways
in step gives up one of its threads at most, and receivers that hang hold up only the threads of the pass's own pool, each for
TOTAL_SECONDS at most. Those threads only speak HTTP; every row is read and written by the thread of the pass.
"""

import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import datetime

import structlog
from django.db import connection
from django.utils import timezone

from tenants import secret_values
from tenants.models import WebhookDelivery, WebhookEndpoint, WebhookEvent
from tenants.webhooks import queue, signing, transport
from tenants.webhooks.payload import told
from tenants.webhooks.transport import Answer

log = structlog.get_logger(__name__)

# Requests at the same time: in all, to one endpoint, and to an endpoint that failed lately.
THREADS = 16
AN_ENDPOINT = 4
A_FAILING_ENDPOINT = 1
# To all endpoints together whose last answer took longer than this: those of a few tenants, slow by accident or on purpose, must not
# have every thread and hold up everybody else.
SLOW_MILLISECONDS = 2000
SLOW_ENDPOINTS = THREADS // 2
# So many of them are remembered: each is named in a query.
MOST_SLOW = 1000
# A pass goes on while it finds something, so long at most: then another one starts with a fresh look.
PASS_SECONDS = 60.0
# How often a pass that waits for answers looks for what came meanwhile.
LOOK_SECONDS = 0.25

Post = Callable[[str, bytes, Mapping[str, str]], Answer]
Clock = Callable[[], datetime]

# Endpoints that were slow the last time, as far as this process knows. Only the thread of the pass touches it.
_slow: set[uuid.UUID] = set()
_turn = threading.Lock()
_asked = threading.Event()


def take_turn() -> None:
    """Run passes until nobody asks for one; leave at once when this process runs one already, which then looks once more."""
    _asked.set()
    while _asked.is_set() and _turn.acquire(blocking=False):
        try:
            _asked.clear()
            deliver_due()
        finally:
            _turn.release()


def deliver_due(clock: Clock = timezone.now, post: Post | None = None) -> int:
    """Send everything that is due, and tidy up; how many were tried. Safe to run in many processes at once.

    Raises RuntimeError inside a transaction: nothing would be claimed for others to see.
    """
    _refuse_in_transaction()
    queue.park_overdue(clock())
    tried = _Pass(clock, post or transport.post).run()
    queue.prune(clock())
    return tried


class _Pass:
    def __init__(self, clock: Clock, post: Post) -> None:
        self._clock = clock
        self._post = post
        self._in_flight: dict[Future[Answer], WebhookDelivery] = {}
        self._at: Counter[uuid.UUID] = Counter()
        self._after: uuid.UUID | None = None
        self._until = time.monotonic() + PASS_SECONDS

    def run(self) -> int:
        tried = 0
        with ThreadPoolExecutor(THREADS, thread_name_prefix="webhook") as pool:
            while True:
                tried += self._send_more(pool)
                if not self._in_flight:
                    return tried
                self._collect()

    def _send_more(self, pool: ThreadPoolExecutor) -> int:
        sent = 0
        if time.monotonic() > self._until:
            return sent
        now = self._clock()
        full = {pk for pk, count in self._at.items() if count >= AN_ENDPOINT}
        free = THREADS - len(self._in_flight)
        free_for_slow = SLOW_ENDPOINTS - sum(self._at[pk] for pk in _slow)
        if free_for_slow <= 0:
            full |= _slow
        for endpoint in queue.endpoints_with_work(now, after=self._after, busy=full, limit=free) if free else []:
            room = min(free - sent, (A_FAILING_ENDPOINT if endpoint.failures else AN_ENDPOINT) - self._at[endpoint.pk])
            room = min(room, free_for_slow) if endpoint.pk in _slow else room
            for delivery in queue.claim(endpoint, now, room) if room > 0 else []:
                self._send(pool, delivery)
                sent += 1
                free_for_slow -= endpoint.pk in _slow
            self._after = endpoint.pk
        return sent

    def _send(self, pool: ThreadPoolExecutor, delivery: WebhookDelivery) -> None:
        self._at[delivery.endpoint_id] += 1
        try:
            headers, body = request_for(delivery.endpoint, delivery.event, self._clock())
        except secret_values.UnreadableValue as error:
            log.exception("webhook.unreadable_secret", endpoint=str(delivery.endpoint_id))
            unsent: Future[Answer] = Future()
            unsent.set_result(Answer(status=None, error=str(error), milliseconds=0))
            self._in_flight[unsent] = delivery
            return
        self._in_flight[pool.submit(self._post, delivery.endpoint.url, body, headers)] = delivery

    def _collect(self) -> None:
        """Write down what was answered, waiting a moment for it."""
        done, _pending = wait(self._in_flight, timeout=LOOK_SECONDS, return_when=FIRST_COMPLETED)
        for future in done:
            delivery = self._in_flight.pop(future)
            self._at[delivery.endpoint_id] -= 1
            answer = future.result()
            _remember_pace(delivery.endpoint_id, answer)
            queue.note(delivery, answer, self._clock())


def _remember_pace(endpoint_id: uuid.UUID, answer: Answer) -> None:
    if answer.milliseconds <= SLOW_MILLISECONDS:
        _slow.discard(endpoint_id)
    elif len(_slow) < MOST_SLOW:
        _slow.add(endpoint_id)
    else:  # many of them may be gone; those that are not come again
        _slow.clear()


def request_for(endpoint: WebhookEndpoint, event: WebhookEvent, now: datetime) -> tuple[dict[str, str], bytes]:
    """Headers and body of one try. The id is the event's, at every try and replay; the timestamp is of this try.

    Raises UnreadableValue when the secret's encryption key is gone.
    """
    body = json.dumps(told(event), ensure_ascii=False, separators=(",", ":")).encode()
    secrets = [secret_values.decrypt(endpoint.secret_encrypted)]
    if endpoint.is_secret_in_grace(now):
        secrets.append(secret_values.decrypt(endpoint.old_secret_encrypted))
    headers = {"Content-Type": "application/json", "User-Agent": "Tollgate-Webhooks/1"}
    return {**headers, **signing.headers_for(secrets, str(event.pk), int(now.timestamp()), body)}, body


def _refuse_in_transaction() -> None:
    """The one that wraps a test is let pass, as Django's own durable blocks do."""
    if connection.in_atomic_block and not all(getattr(block, "_from_testcase", False) for block in connection.atomic_blocks):
        raise RuntimeError("Receivers must not be called inside a database transaction.")

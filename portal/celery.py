"""The Celery app. ``celery -A portal worker -Q sync``, another one with ``-Q webhooks``, and ``celery -A portal beat``.

Exactly one beat, never ``worker -B``.
"""

import importlib
import os
from typing import Any

from celery import Celery, Task
from celery.signals import celeryd_after_setup
from django_structlog.celery.steps import DjangoStructLogInitStep
from kombu.transport import TRANSPORT_ALIASES

from portal.broker import CONNECT_TIMEOUT

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

TRANSPORT_ALIASES["safefs"] = "portal.filebroker:Transport"


class PromptTask(Task):  # type: ignore[type-arg]  # generic in the stubs alone
    """A task whose publisher never waits long for a broker to confirm: the row is the truth, the message a hint."""

    def apply_async(self, *args: Any, **options: Any) -> Any:
        options.setdefault("confirm_timeout", CONNECT_TIMEOUT)
        return super().apply_async(*args, **options)


app = Celery("tollgate", task_cls=PromptTask)
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
# Carries the request id of the publisher into the task's log lines.
app.steps["worker"].add(DjangoStructLogInitStep)


@celeryd_after_setup.connect
def load_what_is_worked_with(**kwargs: Any) -> None:
    """Have a worker load boto3 and what uses it before it says that it is ready: a revoke that comes first need not wait for that.

    Tasks import it when they run, for web processes send tasks without it.
    """
    importlib.import_module("keys.sync.converge")

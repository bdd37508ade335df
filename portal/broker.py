"""Celery's transport options by kind of broker. Read by the settings; knows no Django.

Two aims. A message that a dead worker held comes back soon. And a broker that is down costs a web request a few seconds at most:
the row that the message speaks of is committed, and the sweep finds it.
"""

from pathlib import Path
from typing import Any

# Seconds. A task that runs longer than the visibility timeout would be delivered twice by Redis, so the limits stay below.
TASK_SOFT_TIME_LIMIT = 240
TASK_TIME_LIMIT = 270
VISIBILITY_TIMEOUT = 300
# Seconds that one attempt to reach the broker may take, and that a connected broker may stay silent.
CONNECT_TIMEOUT = 2
SOCKET_TIMEOUT = 3


def transport_options(url: str, folder: Path) -> dict[str, Any]:
    """Options for the broker at ``url``; ``folder`` is where the file broker keeps its messages."""
    scheme = url.partition("://")[0]
    if scheme == "safefs":
        return {"folder": str(folder), "polling_interval": 0.05}
    if scheme in {"redis", "rediss"}:
        return {
            "max_retries": 0,
            "socket_connect_timeout": CONNECT_TIMEOUT,
            "socket_timeout": SOCKET_TIMEOUT,
            # kombu looks for messages of dead workers every interval x throttle seconds; its default is every 100 s.
            "visibility_timeout": VISIBILITY_TIMEOUT,
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
        }
    if scheme in {"amqp", "amqps"}:
        return {"max_retries": 0, "confirm_publish": True, "write_timeout": SOCKET_TIMEOUT}
    return {}

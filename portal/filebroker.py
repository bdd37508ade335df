"""A Celery broker that needs no server: kombu's virtual transport over a folder of files (``portal.spool``).

For one machine: a laptop, a test, a small installation. Use it as ``CELERY_BROKER_URL=safefs://localhost//`` with the
transport option ``folder``. Delivery is at least once, as with any broker under late acknowledgement: a message that a
killed worker held comes back within about two seconds. kombu's own filesystem transport loses it, and lets a reader take
a half-written file.
"""

from pathlib import Path
from queue import Empty
from typing import Any

from kombu.exceptions import ChannelError
from kombu.transport import virtual

from portal.spool import Binding, Spool, spool_at

POLLING_SECONDS = 0.05


class QoS(virtual.QoS):
    """What was delivered and is not acknowledged yet; an acknowledgement removes the file."""

    channel: "Channel"

    def ack(self, delivery_tag: str) -> None:
        self.channel.spool.settle(delivery_tag)
        super().ack(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:  # noqa: FBT001 - kombu's signature
        super().reject(delivery_tag, requeue=requeue)  # with requeue this calls Channel._restore
        if not requeue:
            self.channel.spool.settle(delivery_tag)


class Channel(virtual.Channel):
    """kombu's verbs, said to the spool. Raises ChannelError where the folder cannot be used."""

    QoS = QoS
    supports_fanout = True

    def __init__(self, connection: Any, **kwargs: Any) -> None:
        super().__init__(connection, **kwargs)
        self.spool: Spool = connection.spool
        self._queues_without_ack: set[str] = set()

    def _put(self, queue: str, message: dict[str, Any], **kwargs: Any) -> None:
        try:
            self.spool.put(queue, message)
        except OSError as error:
            raise ChannelError(f"The broker folder {self.spool.folder} cannot be written: {error.strerror}.") from error

    def _put_fanout(self, exchange: str, message: dict[str, Any], routing_key: str, **kwargs: Any) -> None:
        for binding in self.get_table(exchange):
            self._put(binding[-1], message)

    def _get(self, queue: str, timeout: float | None = None) -> dict[str, Any]:
        try:
            claimed = self.spool.claim(queue)
        except OSError as error:
            raise ChannelError(f"The broker folder {self.spool.folder} cannot be read: {error.strerror}.") from error
        if claimed is None:
            raise Empty
        # The tag of this delivery, not of the message: a fanout delivers one message several times.
        claimed.payload["properties"]["delivery_tag"] = claimed.tag
        if queue in self._queues_without_ack:
            self.spool.settle(claimed.tag)
        return claimed.payload

    def basic_consume(self, queue: str, no_ack: bool, *args: Any, **kwargs: Any) -> Any:  # noqa: FBT001 - as above
        if no_ack:
            self._queues_without_ack.add(queue)
        return super().basic_consume(queue, no_ack, *args, **kwargs)

    def basic_get(self, queue: str, no_ack: bool = False, **kwargs: Any) -> Any:  # noqa: FBT001 - as above
        message = super().basic_get(queue, no_ack=no_ack, **kwargs)
        if message is not None and no_ack:
            self.spool.settle(str(message.delivery_tag))
        return message

    def _restore(self, message: Any) -> None:
        """Give an unacknowledged message back: the file itself, at its old place in the queue."""
        self.spool.give_back(message.delivery_tag)

    def _size(self, queue: str) -> int:
        return self.spool.size(queue)

    def _purge(self, queue: str) -> int:
        return self.spool.purge(queue)

    def _delete(self, queue: str, exchange: str, *meta: str, **kwargs: Any) -> None:
        self.spool.remove(queue)
        self.spool.unbind(exchange, _binding(*meta))

    def get_table(self, exchange: str) -> list[Binding]:
        """The bindings every process sees; what this process declared, when the folder was cleared meanwhile."""
        table = self.spool.bindings(exchange)
        return [_binding(*row) for row in super().get_table(exchange)] if table is None else table

    def _queue_bind(self, exchange: str, *meta: str) -> None:
        self.spool.bind(exchange, _binding(*meta))

    def queue_unbind(
        self,
        queue: str,
        exchange: str | None = None,
        routing_key: str = "",
        arguments: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        exchange = exchange or ""
        meta = self.typeof(exchange).prepare_bind(queue, exchange, routing_key, arguments)
        self.state.binding_delete(queue, exchange, routing_key)
        self.spool.unbind(exchange, _binding(*meta))


class Transport(virtual.Transport):
    """``safefs://``; transport options ``folder`` (required) and ``polling_interval`` (seconds, 0.05)."""

    Channel = Channel
    implements = virtual.Transport.implements.extend(asynchronous=False, exchange_type=frozenset(["direct", "topic", "fanout"]))
    polling_interval = POLLING_SECONDS
    default_port = 0
    driver_type = driver_name = "safefs"

    def __init__(self, client: Any, **kwargs: Any) -> None:
        super().__init__(client, **kwargs)
        folder = client.transport_options.get("folder")
        if not folder:
            raise ChannelError("safefs needs the transport option 'folder'.")
        try:
            self.spool = spool_at(Path(folder).resolve())
        except OSError as error:
            raise ChannelError(f"The broker folder {folder} cannot be made: {error.strerror}.") from error
        # Declarations are shared by the connections of this process, as the folder is by all processes.
        self.state = _states.setdefault(self.spool.folder, virtual.BrokerState())

    def driver_version(self) -> str:
        return "1"


_states: dict[Path, virtual.BrokerState] = {}


def _binding(*meta: Any) -> Binding:
    routing_key, pattern, queue = meta
    return routing_key or "", pattern or "", queue or ""

"""The sandbox as one object: everything but sockets. Tests may use it without any."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from sandbox import dataplane
from sandbox.access_log import Log, NoLog
from sandbox.clock import Clock
from sandbox.control import ControlPlane
from sandbox.dataplane import DataPlane
from sandbox.faults import INVOKE, Faults
from sandbox.http import Request, Response
from sandbox.settings import Settings
from sandbox.store import Store
from sandbox.view import View

DEFAULT_APIS = (("groceries", "v1"),)


class Sandbox:
    """One API Gateway account and Region: store, control plane, data plane, faults and clock."""

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        apis: Iterable[tuple[str, str]] = DEFAULT_APIS,
        clock: Clock | None = None,
        log: Log | None = None,
    ) -> None:
        self.clock = clock or Clock()
        self.settings = settings or Settings()
        self._first_settings = replace(self.settings)
        self.log: Log = log or NoLog()
        self.faults = Faults()
        self.view = View(self.clock)
        self.store = Store(self.clock, self.view)
        self.view.usage = self.store.usage
        for api_id, stage in apis:
            self.store.add_api(api_id, api_id.replace("-", " ").capitalize(), stage)
        self.control = ControlPlane(self.store, self.settings, self.faults)
        self.dataplane = DataPlane(self.store, self.view, self.settings, self.faults, self.log)
        self.apply_settings()

    def handle(self, request: Request) -> Response:
        """Answer a request of a tenant or of the management API."""
        if request.target.startswith(dataplane.PREFIX):
            return self.invoke(request.method, request.target, request.headers.get("x-api-key"), request.ip)
        return self.control.handle(request)

    def invoke(self, method: str, target: str, api_key: str | None, ip: str) -> Response:
        """Answer a tenant's request."""
        if any(INVOKE in fault.operations for fault in self.faults.active):
            return self.dataplane.answer_faulty(method, target, api_key, ip)
        return Response(200, raw=self.dataplane.answer(method, target, api_key, ip))

    def apply_settings(self) -> None:
        """Hand changed settings to those who keep a copy."""
        self.store.key_cap = self.settings.key_cap
        self.view.delay = self.settings.propagation_delay
        self.store.usage.lag = self.settings.usage_lag
        self.control.limits.reset()
        self.dataplane.reset()

    def forget(self) -> None:
        """Lose keys, plans, usage and buckets, at once. APIs and settings stay."""
        self.store.forget()
        self.view.settle()

    def reset(self) -> None:
        """Go back to the settings of the start: no faults, real time, counts from zero, full buckets."""
        self.faults.clear()
        self.clock.reset()
        for name in self.settings.__slots__:
            setattr(self.settings, name, getattr(self._first_settings, name))
        self.control.reset()
        self.apply_settings()
        self.view.settle()
        self.view.fill_buckets()
        self.store.usage.rewind()

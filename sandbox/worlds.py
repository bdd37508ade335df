"""Several accounts and Regions in one process. A world is one account and Region: a ``Sandbox`` of its own.

The default world answers every Region of the default account that has no world of its own. Management calls find their world by the Region
and the access key of their signature, tenants' calls by the API's id, which is one world's alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from sandbox import admin, dataplane, sts
from sandbox.access_log import Log, NoLog
from sandbox.app import DEFAULT_APIS, Sandbox
from sandbox.clock import Clock
from sandbox.control import error_response
from sandbox.errors import ApiError
from sandbox.http import Request, Response
from sandbox.identity import DEFAULT_ACCOUNT, Caller, Identities, Role
from sandbox.settings import Settings

Api = tuple[str, str]
_NAME = re.compile(r"(\d{12}):([a-z]{2}(?:-[a-z]+)+-\d)")


class Worlds:
    """All accounts and Regions of a process, and who may call them. They share one clock and one access log."""

    def __init__(self, settings: Settings | None = None, *, apis: Iterable[Api] = DEFAULT_APIS, log: Log | None = None) -> None:
        self.clock = Clock()
        self.log: Log = log or NoLog()
        self.identities = Identities(self.clock)
        self.default = Sandbox(settings, apis=apis, clock=self.clock, log=self.log)
        self._first_settings = replace(self.default.settings)
        self._by_name: dict[str, Sandbox] = {}
        self._by_api: dict[str, Sandbox] = {}
        self._kept: set[str] = set()
        self._kept_roles: dict[str, Role] = {}

    def add(self, name: str, apis: Iterable[Api] = ()) -> Sandbox:
        """Make a world named ``account:region``, or add APIs (id, stage) to it. Without any, a new one has ``api-account-region``.

        Raises:
            ValueError: that is no name, or an API's id is another world's.
        """
        match = _NAME.fullmatch(name)
        if match is None:
            raise ValueError("a world is named ACCOUNT:REGION, as 222222222222:eu-west-1")
        world = self._by_name.get(name)
        wanted = list(apis) or ([] if world else [(f"api-{name.replace(':', '-')}", "v1")])
        for api_id, _stage in wanted:
            if self._by_api.get(api_id, world) is not world or api_id in self.default.store.apis:
                raise ValueError(f"{api_id}: another world has an API of this id")
        if world is None:
            world = Sandbox(replace(self._first_settings), apis=(), clock=self.clock, log=self.log)
            self._by_name[name] = world
            self.identities.accounts.add(match[1])
        for api_id, stage in wanted:
            world.store.add_api(api_id, api_id.replace("-", " ").capitalize(), stage)
            self._by_api[api_id] = world
        return world

    def keep(self) -> None:
        """Take the worlds and roles that are there for those of the start: ``reset`` goes back to them."""
        self._kept = set(self._by_name)
        self._kept_roles = dict(self.identities.roles)

    def items(self) -> list[tuple[str, Sandbox]]:
        """Return names and worlds, without the default one."""
        return list(self._by_name.items())

    def named(self, name: str) -> Sandbox:
        """Return a world by its name, the default one by an empty name.

        Raises:
            ValueError: there is none of that name.
        """
        world = self._by_name.get(name) if name else self.default
        if world is None:
            raise ValueError(f"{name}: no such world; POST /_sandbox/worlds makes one")
        return world

    def serving(self, target: str) -> Sandbox:
        """Return the world whose API a tenant's URL names; the default one for an unknown API."""
        if not self._by_api:
            return self.default
        api_id = target.removeprefix(dataplane.PREFIX).partition("/")[0]
        return self._by_api.get(api_id, self.default)

    def handle(self, request: Request) -> Response:
        """Answer any request."""
        if request.target.startswith(dataplane.PREFIX):
            return self.serving(request.target).handle(request)
        if request.target.startswith(admin.PREFIX):
            return admin.handle(self, request)
        return self._manage(request)

    def _manage(self, request: Request) -> Response:
        authorization = request.headers.get("authorization", "")
        render = sts.error_response if "/sts/aws4_request" in authorization else error_response
        try:
            caller = self.identities.caller(authorization)
            if caller is None:
                return self.default.handle(request)
            if caller.service == "sts":
                return sts.handle(request, caller, self.identities, self.default.faults)
            return self._world_of(caller).control.handle(request, caller)
        except ApiError as error:
            return render(error)

    def _world_of(self, caller: Caller) -> Sandbox:
        world = self._by_name.get(f"{caller.account}:{caller.region}")
        if world is None and caller.account != DEFAULT_ACCOUNT:
            # So AWS answers in a Region that is not switched on for the account.
            raise ApiError(403, "UnrecognizedClientException", "The security token included in the request is invalid.")
        return world or self.default

    def reset(self) -> None:
        """Go back to the worlds, roles, settings and time of the start. What worlds hold stays, as in ``Sandbox.reset``."""
        self.default.reset()
        self.identities.roles = dict(self._kept_roles)
        for name in self._by_name.keys() - self._kept:
            world = self._by_name.pop(name)
            self._by_api = {api_id: each for api_id, each in self._by_api.items() if each is not world}
        for world in self._by_name.values():
            world.reset()
        self.identities.accounts = {DEFAULT_ACCOUNT} | {name.partition(":")[0] for name in self._by_name}

    def describe(self) -> list[dict[str, Any]]:
        """Return the worlds for people and tests to read."""
        return [
            {"world": name, "apis": {api.id: list(api.stages) for api in world.store.apis.values()}, "keys": len(world.store.keys)}
            for name, world in [("", self.default), *self.items()]
        ]

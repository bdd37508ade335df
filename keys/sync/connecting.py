"""Looking at an account and Region before it is made use of, and before there is a row that a lease could be on.

A dozen calls, none of which changes anything: they stay within the burst of a management API that nobody speaks to yet.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from keys.gateway.client import GatewayClient
from keys.gateway.errors import GatewayError, NotFound
from keys.models import Gateway
from keys.sync.permissions import Missing, missing_of
from keys.sync.session import access_to


class UnableToLook(Exception):
    """AWS could not be asked; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """A REST API as it was found. ``needs_key``: of the method that tenants try out; None when it is not there, or nobody may look."""

    id: str
    stages: Sequence[str] | None
    needs_key: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What was found. ``missing`` rights; APIs in the order they were asked for. An API with ``stages`` None may not be looked at."""

    missing: Sequence[Missing]
    apis: Sequence[Api]

    @property
    def is_readable(self) -> bool:
        """Whether the workers can at least read keys and usage plans: without that a gateway is of no use."""
        return not any(each["operation"].startswith(("GetApiKey", "GetUsagePlan")) for each in self.missing)


def look(gateway: Gateway, *, api_ids: Iterable[str], test_path: str) -> Looked:
    """Ask AWS, for a gateway that need not be saved. Raises UnableToLook."""
    client = GatewayClient(access_to(gateway), _Nobody())
    try:
        missing = missing_of(client)
        apis = [_api(client, api_id, test_path) for api_id in api_ids]
    except GatewayError as error:
        raise UnableToLook(str(error)) from None
    return Looked(missing=missing, apis=apis)


def _api(client: GatewayClient, api_id: str, test_path: str) -> Api:
    try:
        stages = client.list_stages(api_id)
    except NotFound:
        return Api(id=api_id, stages=[], needs_key=None)
    except GatewayError as error:
        if not error.is_forbidden:
            raise
        return Api(id=api_id, stages=None, needs_key=None)
    return Api(id=api_id, stages=stages, needs_key=_needs_key(client, api_id, test_path))


def _needs_key(client: GatewayClient, api_id: str, test_path: str) -> bool | None:
    """Paths with parameters are not matched: then it is not known."""
    try:
        methods = client.list_methods(api_id)
    except GatewayError as error:
        if not error.is_forbidden:
            raise
        return None
    path = test_path.partition("?")[0]
    return next((method.needs_key for method in methods if method.path == path and method.method in {"GET", "ANY"}), None)


class _Nobody:
    """A guard of calls that nobody else could be in the way of."""

    def before(self, operation: str) -> None:
        pass

    def still(self) -> None:
        pass

    def after(self, operation: str, error: GatewayError | None) -> None:
        pass

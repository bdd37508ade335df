"""Whose credentials a gateway is spoken to with: the workers' own, or those of a role that they take on through STS.

The account is asked for before the first call: keys that are made in the wrong account are found by nobody. A role's credentials last an
hour and are renewed well before they end (botocore: from 15 minutes before).
"""

import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
from botocore.parsers import ResponseParserError
from botocore.session import Session, get_session
from django.utils.translation import gettext as _

from keys.gateway.errors import GatewayError, Kind, TryLater, clean, sort_error

if TYPE_CHECKING:
    from mypy_boto3_apigateway import APIGatewayClient

CONNECT_SECONDS = 5
# How the workers call themselves in the account's own trail (CloudTrail).
SESSION_NAME = "tollgate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How one account and Region is reached. ``role_arn`` empty: with the credentials that the workers have."""

    account_id: str
    region: str
    role_arn: str = ""
    external_id: str = ""


@dataclass(frozen=True, slots=True)
class _Way:
    """Where the calls go and how long one may take: from the environment and the settings, which tests change."""

    access: Access
    endpoint: str
    sts_endpoint: str
    timeout: int


# Making a client costs a tenth of a second, and it keeps connections open.
_clients: "dict[_Way, APIGatewayClient]" = {}
_making = threading.Lock()


def client_for(access: Access, timeout: int) -> "APIGatewayClient":
    """A boto3 client whose credentials are good for now. Asks STS when it is new, or when they are about to end: that takes time.

    Raises GatewayError: REFUSED when there are no credentials, the role cannot be taken on, or they are another account's.
    """
    environ = os.environ
    way = _Way(access, environ.get("AWS_ENDPOINT_URL_API_GATEWAY", ""), environ.get("AWS_ENDPOINT_URL_STS", ""), timeout)
    try:
        client = _clients.get(way)
        if client is None:
            client = _made(way)
            _clients[way] = client
        elif access.role_arn:
            _renew(client)
        return client
    except (ClientError, BotoCoreError, ResponseParserError) as error:
        failure = _sort(error, access)
    if failure.kind is Kind.REFUSED:
        forget(access)  # what renews a role's credentials holds the workers' own; those that were given meanwhile are read by a new client
    raise failure  # not from its cause, which may hold headers


def forget(access: Access) -> None:
    """Make the next client from new credentials: those that were given to the workers meanwhile."""
    for way in [way for way in list(_clients) if way.access == access]:
        _clients.pop(way, None)


def forget_all() -> None:
    """``forget`` for every gateway."""
    _clients.clear()


def _made(way: _Way) -> "APIGatewayClient":
    config = Config(
        connect_timeout=min(CONNECT_SECONDS, way.timeout),
        read_timeout=way.timeout,
        retries={"total_max_attempts": 1, "mode": "standard"},
    )
    with _making:  # loading what botocore knows of a service is not meant for several threads at once
        session = _session_of(way, config)
        client = boto3.session.Session(botocore_session=session).client(
            "apigateway", region_name=way.access.region, endpoint_url=way.endpoint or None, config=config
        )
    if way.access.role_arn:
        _renew(client)
    # A stand-in for API Gateway without one for STS has no accounts: there is nobody to ask.
    if way.sts_endpoint or not way.endpoint:
        _check_account(way, session, config)
    return client


def _session_of(way: _Way, config: Config) -> Session:
    """The workers' own session; with a role, one of the role's, whose credentials are fetched when they are first needed."""
    own = get_session()
    if not way.access.role_arn:
        return own

    def sts_client(_service: str, **credentials: Any) -> Any:
        return own.create_client("sts", region_name=way.access.region, endpoint_url=way.sts_endpoint or None, config=config, **credentials)

    credentials = own.get_credentials()
    if credentials is None:
        raise NoCredentialsError
    extra = {"RoleSessionName": SESSION_NAME, **({"ExternalId": way.access.external_id} if way.access.external_id else {})}
    fetcher = AssumeRoleCredentialFetcher(sts_client, credentials, way.access.role_arn, extra_args=extra)
    session = get_session()
    # What an assume-role profile of the AWS CLI does as well; botocore offers no public way to give a session such credentials.
    session._credentials = DeferredRefreshableCredentials(method="assume-role", refresh_using=fetcher.fetch_credentials)  # type: ignore[attr-defined]
    return session


def _renew(client: "APIGatewayClient") -> None:
    """Fetch the role's credentials anew if they end soon: here and not while a call is signed, so that the caller knows of the time."""
    client._request_signer._credentials.get_frozen_credentials()  # type: ignore[attr-defined]


def _check_account(way: _Way, session: Session, config: Config) -> None:
    sts: Any = session.create_client("sts", region_name=way.access.region, endpoint_url=way.sts_endpoint or None, config=config)
    account = str(sts.get_caller_identity()["Account"])
    if account != way.access.account_id:
        words = _(
            "The workers' credentials are of the AWS account %(account)s, and this gateway is in %(wanted)s. Give the gateway a role of "
            "its account, or the workers that account's credentials."
        )
        raise TryLater(words % {"account": account, "wanted": way.access.account_id}, Kind.REFUSED)


def _sort(error: Exception, access: Access) -> GatewayError:
    """Never Permanent, nor NotFound: no row is to blame for credentials, and nothing was asked for that could be gone."""
    code = error.response.get("Error", {}).get("Code", "") if isinstance(error, ClientError) else ""
    if code == "AccessDenied" and isinstance(error, ClientError) and error.operation_name == "AssumeRole":
        words = _(
            "AWS does not let the workers take on the role %(role)s. Its trust policy must name them and the external id, and their "
            "own policy must allow sts:AssumeRole on it (deploy/iam)."
        )
        return TryLater(words % {"role": access.role_arn}, Kind.REFUSED)
    failure = sort_error(error)
    if isinstance(failure, TryLater):
        return failure
    return TryLater(_("AWS gives the workers no credentials for this gateway: %(reason)s") % {"reason": _said(error)}, Kind.REFUSED)


def _said(error: Exception) -> str:
    if not isinstance(error, ClientError):
        return type(error).__name__
    told = error.response.get("Error", {})
    return clean(f"{told.get('Code', '')}: {told.get('Message', '')}")

"""Who calls: accounts, roles and what roles may do. A small piece of IAM and STS; signatures are not checked.

An access key id names its account: ``AKIA`` or ``ASIA``, the account's twelve digits, anything. Every other access key id (``sandbox``) is
of the default account.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from sandbox.clock import Clock
from sandbox.errors import ApiError

DEFAULT_ACCOUNT = "000000000000"
CREDENTIAL = re.compile(r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/,\s]+)/\d{8}/(?P<region>[a-z0-9-]+)/(?P<service>[a-z]+)/aws4_request,")
SHORTEST_SESSION, LONGEST_SESSION = 900, 43_200  # seconds (STS, AssumeRole)
_KEY_OF_ACCOUNT = re.compile(r"(?:AKIA|ASIA)(\d{12})")
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::(\d{12}):role/([\w+=,.@/-]+)")


@dataclass(slots=True)
class Role:
    """A role. ``policies``: IAM policy documents that say what it may do, None: everything. ``deny``: operations that it may not do.

    An empty ``arn`` stands for callers that have taken on no role.
    """

    arn: str
    external_id: str = ""
    deny: tuple[str, ...] = ()
    policies: list[Any] | None = None

    def allows(self, operation: str, method: str, path: str, region: str) -> bool:
        """Whether it may call an operation of API Gateway. IAM knows those as methods on paths."""
        if operation in self.deny:
            return False
        if self.policies is None:
            return True
        action, resource = f"apigateway:{method}", f"arn:aws:apigateway:{region}::/{path}"
        verdicts = {
            statement.get("Effect")
            for policy in self.policies
            for statement in policy["Statement"]
            if _matches(statement.get("Action"), action) and _matches(statement.get("Resource"), resource)
        }
        return verdicts == {"Allow"}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who signed a request, and for which Region and service."""

    access_key: str
    account: str
    region: str
    service: str
    arn: str
    role: Role

    def may(self, operation: str, method: str, path: str) -> None:
        """Raise 403 unless the caller may call the operation."""
        if not self.role.allows(operation, method, path, self.region):
            resource = f"arn:aws:apigateway:{self.region}::/{path}"
            message = f"User: {self.arn} is not authorized to perform: apigateway:{method} on resource: {resource}"
            raise ApiError(403, "AccessDeniedException", message)


@dataclass(frozen=True, slots=True)
class RoleSession:
    """What AssumeRole gave out. ``expires`` is in seconds since the epoch."""

    access_key: str
    secret: str
    token: str
    arn: str
    role: str
    expires: float


@dataclass(slots=True)
class Identities:
    """Roles, and the credentials that were given out for them."""

    clock: Clock
    accounts: set[str] = field(default_factory=lambda: {DEFAULT_ACCOUNT})
    roles: dict[str, Role] = field(default_factory=dict)
    sessions: dict[str, RoleSession] = field(default_factory=dict)

    def describe_role(self, options: Mapping[str, Any]) -> Role:
        """Say what a role may do and what it asks for. Roles nobody described ask for nothing and may do everything.

        Raises:
            ValueError: an option is unknown or its value is not possible.
        """
        unknown = options.keys() - {"arn", "external_id", "deny", "policies"}
        arn, external_id = options.get("arn"), options.get("external_id", "")
        deny, policies = options.get("deny", []), options.get("policies")
        if unknown:
            raise ValueError(f"{min(unknown)}: no such option")
        if not isinstance(arn, str) or (arn and not _ROLE.fullmatch(arn)):
            raise ValueError("arn: as arn:aws:iam::123456789012:role/name, or empty for those who take on no role")
        if not isinstance(deny, list) or not all(isinstance(each, str) for each in [external_id, *deny]):
            raise ValueError("external_id: a text; deny: a list of operations")
        if policies is not None and not (isinstance(policies, list) and all(_is_policy(each) for each in policies)):
            raise ValueError("policies: a list of IAM policy documents, or null")
        self.roles[arn] = role = Role(arn, external_id, tuple(deny), policies)
        return role

    def caller(self, authorization: str) -> Caller | None:
        """Return who signed a request; None when it is not signed, or not in a shape that names anybody.

        Raises:
            ApiError: 403 the credentials of a role have expired, or were not given out here.
        """
        match = CREDENTIAL.match(authorization.strip())
        if match is None:
            return None
        key, region, service = match["key"], match["region"], match["service"]
        session = self.sessions.get(key)
        if session is None and key.startswith("ASIA"):
            raise ApiError(403, "UnrecognizedClientException", "The security token included in the request is invalid.")
        if session is not None and session.expires <= self.clock.now():
            raise ApiError(403, "ExpiredTokenException", "The security token included in the request is expired")
        account = _account_of(key)
        arn = session.arn if session else f"arn:aws:iam::{account}:user/sandbox"
        role_arn = session.role if session else ""
        return Caller(key, account, region, service, arn, self.roles.get(role_arn) or Role(role_arn))

    def assume(self, caller: Caller, *, role_arn: str, session_name: str, external_id: str, seconds: int) -> RoleSession:
        """AssumeRole.

        Raises:
            ApiError: 400 the request is not possible; 403 the role does not exist, or asks for another external id.
        """
        match = _ROLE.fullmatch(role_arn)
        if match is None or not re.fullmatch(r"[\w+=,.@-]{2,64}", session_name):
            raise ApiError(400, "ValidationError", "RoleArn or RoleSessionName is not valid")
        if not SHORTEST_SESSION <= seconds <= LONGEST_SESSION:
            raise ApiError(400, "ValidationError", f"DurationSeconds is from {SHORTEST_SESSION} to {LONGEST_SESSION}")
        account, name = match.groups()
        role = self.roles.get(role_arn) or Role(role_arn)
        if account not in self.accounts or role.external_id != external_id or "AssumeRole" in role.deny:
            message = f"User: {caller.arn} is not authorized to perform: sts:AssumeRole on resource: {role_arn}"
            raise ApiError(403, "AccessDenied", message)
        self._drop_expired()
        session = RoleSession(
            access_key=f"ASIA{account}{secrets.token_hex(4).upper()}",
            secret=secrets.token_urlsafe(30),
            token=secrets.token_urlsafe(60),
            arn=f"arn:aws:sts::{account}:assumed-role/{name.rpartition('/')[2]}/{session_name}",
            role=role_arn,
            expires=self.clock.now() + seconds,
        )
        self.sessions[session.access_key] = session
        return session

    def _drop_expired(self) -> None:
        # Those of the last day are kept, so that they are told that they expired.
        before = self.clock.now() - 86_400
        self.sessions = {key: session for key, session in self.sessions.items() if session.expires > before}


def _account_of(access_key: str) -> str:
    match = _KEY_OF_ACCOUNT.match(access_key)
    return match[1] if match else DEFAULT_ACCOUNT


def _matches(patterns: object, text: str) -> bool:
    """Whether a member of a statement, one pattern or several, names ``text``."""
    listed = [patterns] if isinstance(patterns, str) else patterns
    return isinstance(listed, list) and any(fnmatchcase(text, str(pattern).replace("[", "[[]")) for pattern in listed)


def _is_policy(document: object) -> bool:
    statements = document.get("Statement") if isinstance(document, dict) else None
    return isinstance(statements, list) and all(isinstance(each, dict) for each in statements)

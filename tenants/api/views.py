"""The base of every endpoint."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, NoReturn, TypeVar

from django.core.exceptions import ImproperlyConfigured, TooManyFieldsSent
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext as _
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from tenants.api import etags, throttling
from tenants.api.authentication import SessionAuthentication, TokenAuthentication
from tenants.api.caller import Caller, caller_of
from tenants.api.filters import Filters
from tenants.api.pagination import KeysetPagination
from tenants.api.problems import CHALLENGE, FieldError, Problem, handle
from tenants.api.wire import AlwaysJson, JsonParser, JsonRenderer, take_chunked_body
from tenants.models import Scope, Tenant

M = TypeVar("M", bound=Model)


class ApiView(GenericAPIView[Any]):
    """One URL. Subclasses write ``get``, ``post``, ... and say below what each asks of the caller.

    ``scopes``: the scope by method; every method has one. ``permissions``: by method, the Django permission that the staff page asks
    for as well. ``secret_methods``: hand out credentials, so a session must be fresh and a second limit counts. ``parameters``: query
    parameters beside those of filters and paging. ``refusals``: what services raise, to the slug of the problem it becomes.
    ``post_limit``: a policy of ``throttling`` that counts POST beside the others.
    """

    authentication_classes = [TokenAuthentication, SessionAuthentication]
    permission_classes = []
    parser_classes = [JsonParser]
    renderer_classes = [JsonRenderer]
    content_negotiation_class = AlwaysJson
    metadata_class = None
    http_method_names = ["get", "head", "post", "put", "patch", "delete"]
    pagination_class: Any = None
    filter_backends = [Filters]

    needs_tenant: ClassVar[bool] = True
    scopes: ClassVar[Mapping[str, Scope]] = {}
    permissions: ClassVar[Mapping[str, str]] = {}
    secret_methods: ClassVar[frozenset[str]] = frozenset()
    parameters: ClassVar[frozenset[str]] = frozenset()
    refusals: ClassVar[Mapping[type[Exception], str]] = {}
    post_limit: ClassVar[str] = ""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        missing = [
            method for method in ("GET", "POST", "PUT", "PATCH", "DELETE") if hasattr(cls, method.lower()) and method not in cls.scopes
        ]
        if missing:
            raise ImproperlyConfigured(f"{cls.__name__}.scopes lacks {', '.join(missing)}.")

    # --- For handlers

    @property
    def caller(self) -> Caller:
        return caller_of(self.request)

    @property
    def tenant(self) -> Tenant:
        """The tenant that the caller acts for. Only where ``needs_tenant``."""
        tenant = self.caller.tenant
        assert tenant is not None  # noqa: S101 - _check_rights let nobody through without one
        return tenant

    def valid(self, data: Any = None, **options: Any) -> dict[str, Any]:
        """The body, checked by ``serializer_class``. Raises ValidationError."""
        serializer = self.get_serializer(data=self.request.data if data is None else data, **options)
        serializer.is_valid(raise_exception=True)
        validated: dict[str, Any] = serializer.validated_data
        return validated

    def shown(self, representation: Mapping[str, Any], version: Mapping[str, Any] | None = None, **options: Any) -> Response:
        """The answer with its ETag; 304 without a body where the caller has this version. ``version``: what the ETag stands for, where
        that is less than all."""
        etag = etags.etag_of(representation if version is None else version)
        if self.request.method in {"GET", "HEAD"} and etags.is_unchanged(self.request, etag):
            return Response(status=304, headers={"ETag": etag})
        return Response(representation, headers={"ETag": etag}, **options)

    @contextmanager
    def if_match(self, row: QuerySet[M], representation: Callable[[M], Any]) -> Iterator[M]:
        """The one row, locked, in a transaction; refused with 412 where ``If-Match`` names another version. Raises Http404.

        Not locked for DELETE: what ends a thing locks others before it (the tenant, the pool), and two that lock in different orders
        wait for each other in a circle. Nothing gets lost where a change slips in between.
        """
        with transaction.atomic():
            deleting = self.request.method == "DELETE"
            found = get_object_or_404(row if deleting else row.select_for_update(of=("self",), no_key=True))
            if "If-Match" in self.request.headers:
                etags.check_unchanged(self.request, etags.etag_of(representation(found)))
            yield found

    # --- The way in and out

    def get_exception_handler(self) -> Any:
        return handle

    def get_authenticate_header(self, request: Request) -> str:
        return CHALLENGE

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Who calls, how often, whether they may, and whether they ask for what there is: in this order."""
        self.format_kwarg = None
        request.accepted_renderer, request.accepted_media_type = self.perform_content_negotiation(request)
        caller = request.auth if request.user and request.auth else None
        if not isinstance(caller, Caller):
            raise Problem("not-authenticated", headers={"WWW-Authenticate": CHALLENGE})
        request._request.api_caller = caller.id  # type: ignore[attr-defined]  # the request's line in the log names it
        self._count(request, throttling.policy_named("default"))
        if (request.method or "").lower() not in self.http_method_names or not hasattr(self, (request.method or "").lower()):
            self.http_method_not_allowed(request)
        self._check_rights(request, caller)
        self._check_parameters(request)
        if request.method in self.secret_methods:
            if not caller.is_recent:
                raise Problem("reauthentication-required")
            self._count(request, throttling.policy_named("secrets"))
        if request.method == "POST" and self.post_limit:
            self._count(request, throttling.policy_named(self.post_limit))
        take_chunked_body(request._request)

    def http_method_not_allowed(self, request: HttpRequest, *args: Any, **kwargs: Any) -> NoReturn:
        text = _("This URL takes %(methods)s.") % {"methods": ", ".join(self.allowed_methods)}
        raise Problem("method-not-allowed", text)

    @property
    def default_response_headers(self) -> dict[str, str]:
        return {"Allow": ", ".join(self.allowed_methods), "Vary": "Authorization, Cookie"}

    def _count(self, request: Request, policy: throttling.Policy) -> None:
        """Count the request. What is left of each policy stands in the answer, refusals included."""
        try:
            self._tell(throttling.count(request, policy))
        except Problem as refusal:
            self._tell(refusal.headers)
            raise

    def _tell(self, limits: Mapping[str, str]) -> None:
        for name in ("RateLimit-Policy", "RateLimit"):
            if name in limits:
                self.headers[name] = ", ".join(part for part in (self.headers.get(name), limits[name]) if part)

    def _check_rights(self, request: Request, caller: Caller) -> None:
        method = "GET" if request.method in {"HEAD", "OPTIONS"} else request.method or ""
        needed = self.scopes.get(method)
        if needed is not None and needed not in caller.scopes:
            headers = {"WWW-Authenticate": f'{CHALLENGE}, error="insufficient_scope", scope="{needed.value}"'}
            raise Problem("insufficient-scope", _("This needs the scope %(scope)s.") % {"scope": needed.value}, headers=headers)
        if self.needs_tenant and caller.tenant is None:
            raise Problem("forbidden", _("This is about an organisation, and whoever calls belongs to none."))
        permission = self.permissions.get(method)
        if permission and not caller.user.has_perm(permission):
            raise Problem("forbidden", _("This needs the right %(permission)s.") % {"permission": permission})

    def _check_parameters(self, request: Request) -> None:
        known = set(self.parameters)
        filterset = getattr(self, "filterset_class", None)
        if request.method in {"GET", "HEAD"}:
            known.update(filterset.base_filters if filterset else ())
            known.update({"limit", "cursor"} if self.pagination_class else ())
        try:
            unknown = [name for name in request.query_params if name not in known]
        except TooManyFieldsSent:
            raise Problem("bad-request", _("There are too many parameters.")) from None
        if unknown:
            listed = ", ".join(sorted(known)) or _("none")
            text = _("There is no such parameter here. Known are: %(known)s.") % {"known": listed}
            raise Problem("invalid-fields", f"{unknown[0]}: {text}", errors=[FieldError(field=name, detail=text) for name in unknown])


class ListView(ApiView):
    """A URL that lists, page by page."""

    pagination_class = KeysetPagination

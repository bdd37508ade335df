"""``/keys/batch``: many purchases in one request."""

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from keys.api.keys import BUYING
from keys.api.rows import endpoint_urls, row_of
from keys.api.shapes import BatchInput, BatchShape, key_shown, waits_of
from keys.services import purchases
from keys.services.purchases import Bought, Item, UnableToBuyKey
from tenants.api import problems
from tenants.api.idempotency import idempotent
from tenants.api.problems import FieldError
from tenants.api.views import ApiView
from tenants.models import Scope


@extend_schema(tags=["Keys"])
class KeyBatch(ApiView):
    scopes = {"POST": Scope.KEYS_WRITE}
    serializer_class = BatchInput
    secret_methods = frozenset({"POST"})
    refusals = BUYING

    @extend_schema(operation_id="buy_keys", summary="Buy many keys", request=BatchInput, responses=BatchShape)
    @idempotent
    def post(self, request: Request) -> Response:
        """Up to 1,000 at once, with their credentials. What is refused, as by the maximum of a tier, harms no other item: look at each
        outcome. A body with a malformed item is refused whole, and nothing is bought.
        """
        items = [Item(**item) for item in self.valid()["items"]]
        outcomes = purchases.buy_and_reveal(tenant=self.tenant, items=items, actor=self.caller.actor())
        rows = [row_of(each.api_key) for each in outcomes if isinstance(each, Bought)]
        urls, now = endpoint_urls(rows), timezone.now()
        waits = waits_of(rows, now)
        shown = []
        for index, outcome in enumerate(outcomes):
            if isinstance(outcome, Bought):
                key = {**key_shown(row_of(outcome.api_key), urls, waits, now), "credential": outcome.value}
                shown.append({"index": index, "status": 201, "key": key, "problem": None})
            else:
                problem = _problem(outcome)
                shown.append({"index": index, "status": problem["status"], "key": None, "problem": problem})
        return Response({"bought": len(rows), "refused": len(outcomes) - len(rows), "outcomes": shown})


def _problem(refusal: UnableToBuyKey) -> dict[str, Any]:
    """The document that POST /keys would have answered."""
    slug = next(slug for kind, slug in BUYING.items() if isinstance(refusal, kind))
    field = getattr(refusal, "field", "")
    return problems.document(slug, str(refusal), [FieldError(field=field, detail=str(refusal))] if field else [])

"""The start page."""

from dataclasses import dataclass
from typing import Self

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from keys import selectors, words
from keys.models import Tier
from portal.views.docs import EXAMPLE_URL, first_call


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A tier in the words of its card."""

    name: str
    slug: str
    price_text: str
    rate_text: str
    burst_text: str
    quota_text: str

    @classmethod
    def of(cls, tier: Tier) -> Self:
        return cls(
            name=tier.name,
            slug=tier.slug,
            price_text=words.price_text(tier),
            rate_text=words.rate_text(tier),
            burst_text=words.burst_text(tier),
            quota_text=words.quota_text(tier),
        )


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """``/``."""
    offers = [Offer.of(tier) for tier in selectors.tiers_for_sale()]
    return render(request, "portal/home.html", {"tiers": offers, "first_call": first_call(EXAMPLE_URL)})

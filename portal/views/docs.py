"""The docs for tenants: how to call, what refusals mean, how to retry."""

from dataclasses import dataclass

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

# The form of an invoke URL; a tenant's own stands on the page of their key.
EXAMPLE_URL = "https://abc123.execute-api.eu-central-1.amazonaws.com/prod/api"
FORMULA = "wait = random(0, min(20 s, 0.25 s * 2 ** attempt))"
# A receiver's check, with nothing to install.
VERIFY = """\
import base64, hashlib, hmac

def is_ours(secret: str, headers: dict[str, str], body: bytes) -> bool:
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    key = base64.b64decode(secret.removeprefix("whsec_"))
    right = "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    return any(hmac.compare_digest(right.encode(), each.encode()) for each in headers["webhook-signature"].split())"""
LANGUAGES = (("curl", "curl"), ("python", "Python"), ("javascript", "JavaScript"), ("go", "Go"))


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """One refusal of API Gateway, as it goes over the wire by default (the owner of an API may change it)."""

    slug: str
    kind: str
    status: str
    error_type: str
    message: str
    title: Promise
    meaning: Promise
    again: Promise
    advice: Promise

    @property
    def text(self) -> str:
        body = f'{{"message":"{self.message}"}}'
        return (
            f"HTTP/1.1 {self.status}\ncontent-type: application/json\ncontent-length: {len(body)}\n"
            f"x-amzn-errortype: {self.error_type}\nx-amzn-requestid: 8c1f6a5e-3d0b-4a52-9f0e-2b7c64d1a9ef\n\n{body}"
        )


# Bodies and headers: AWS's default gateway responses THROTTLED, QUOTA_EXCEEDED, INVALID_API_KEY and
# MISSING_AUTHENTICATION_TOKEN; the sandbox answers with the same bytes.
REFUSALS = (
    Refusal(
        slug="throttled",
        kind="throttled",
        status="429 Too Many Requests",
        error_type="TooManyRequestsException",
        message="Too Many Requests",
        title=_("429: throttled"),
        meaning=_("The bucket is dry: calls come faster than the rate."),
        again=_("Yes, after a moment"),
        advice=_("At 10 requests a second the next token is there after a tenth of a second. A throttled call was not carried out."),
    ),
    Refusal(
        slug="quota",
        kind="quota",
        status="429 Too Many Requests",
        error_type="LimitExceededException",
        message="Limit Exceeded",
        title=_("429: quota used up"),
        meaning=_("The calls of this period are used up."),
        again=_("Not before the period ends"),
        advice=_("The page of your key shows when that is. If it happens often, a larger tier is cheaper than waiting."),
    ),
    Refusal(
        slug="forbidden",
        kind="refused",
        status="403 Forbidden",
        error_type="ForbiddenException",
        message="Forbidden",
        title=_("403: key refused"),
        meaning=_("The key is missing, mistyped, disabled or revoked, or not for this API."),
        again=_("No"),
        advice=_("Check the header's name and value, and the key's status. What was changed just now may take minutes to apply."),
    ),
    Refusal(
        slug="no-route",
        kind="refused",
        status="403 Forbidden",
        error_type="MissingAuthenticationTokenException",
        message="Missing Authentication Token",
        title=_("403: no such path"),
        meaning=_("The path or the method does not exist, whatever the message says."),
        again=_("No"),
        advice=_("Compare the URL with the one on the page of your key: the stage is part of its path."),
    ),
)


def snippets(url: str) -> list[dict[str, str]]:
    """The retrying client in each language, for the tabs component."""
    context = {"url": url}
    return [
        {"slug": slug, "title": title, "text": render_to_string(f"portal/docs/snippets/{slug}.txt", context).strip()}
        for slug, title in LANGUAGES
    ]


def first_call(url: str) -> str:
    return f'curl -i -H "X-Api-Key: $API_KEY" \\\n  {url}'


def automate() -> str:
    return f'curl -H "Authorization: Bearer $TOLLGATE_TOKEN" \\\n  {settings.PORTAL_URL}/api/v1/keys'


@require_safe
def docs(request: HttpRequest) -> HttpResponse:
    """``/docs/``."""
    context = {
        "answers": REFUSALS,
        "formula": FORMULA,
        "first_call": first_call(EXAMPLE_URL),
        "snippets": snippets(EXAMPLE_URL),
        "automate": automate(),
        "verify": VERIFY,
    }
    return render(request, "portal/docs/index.html", context)

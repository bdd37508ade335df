"""Changing a key. Each change has its page that says the effect, and its POST that carries it out."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from keys import selectors
from keys.forms import NameForm, RotateForm
from keys.models import ApiKey
from keys.services import api_keys
from keys.services.api_keys import UnableToChangeKey
from tenants.audit import Actor
from tenants.current import TenantRequest, tenant_required
from tenants.models import Role
from tenants.ratelimits import limited

# Each switch costs a call at the gateway before anything that others wait for, so nobody may keep it busy with them.
page_and_action = require_http_methods(["GET", "HEAD", "POST"])


@page_and_action
@tenant_required(role=Role.MEMBER)
def rename_key(request: TenantRequest, pk: uuid.UUID) -> HttpResponse:
    """Another name and description."""
    api_key = selectors.api_key_of(request.tenant, pk)
    form = NameForm(
        request.POST if request.method == "POST" else None,
        initial={"name": api_key.name, "description": api_key.description},
    )
    if request.method == "POST" and form.is_valid():
        api_keys.rename(api_key=api_key, actor=Actor.of(request), **form.cleaned_data)
        messages.success(request, _("The key was renamed."))
        return redirect("keys:detail", pk=pk)
    return render(request, "keys/rename.html", {"form": form, "api_key": api_key})


@page_and_action
@tenant_required(role=Role.MEMBER)
@limited(group="switch", rate="30/m", key="user", method="POST")
def disable_key(request: TenantRequest, pk: uuid.UUID) -> HttpResponse:
    """Let the gateway refuse calls with the key, until it is enabled again."""
    api_key = selectors.api_key_of(request.tenant, pk)
    if request.method != "POST":
        return _confirm(request, api_key, _disable_question(api_key))
    return _carry_out(request, api_key, api_keys.disable, _("The key was disabled."))


@page_and_action
@tenant_required(role=Role.MEMBER)
@limited(group="switch", rate="30/m", key="user", method="POST")
def enable_key(request: TenantRequest, pk: uuid.UUID) -> HttpResponse:
    """Let the gateway answer calls with the key again."""
    api_key = selectors.api_key_of(request.tenant, pk)
    if request.method != "POST":
        return _confirm(request, api_key, _enable_question(api_key))
    return _carry_out(request, api_key, api_keys.enable, _("The key was enabled."))


@page_and_action
@tenant_required(role=Role.MEMBER)
def revoke_key(request: TenantRequest, pk: uuid.UUID) -> HttpResponse:
    """End the key for ever."""
    api_key = selectors.api_key_of(request.tenant, pk)
    if request.method != "POST":
        return _confirm(request, api_key, _revoke_question(api_key))
    done = _("The key was revoked.")
    if not api_key.tier.has_own_credentials:
        done += " " + _("If its credential leaked, tell our support: a copy of it may go on being answered until they replace it.")
    return _carry_out(request, api_key, api_keys.revoke, done)


@page_and_action
@tenant_required(role=Role.MEMBER)
@limited(group="rotate", rate="10/m", key="user", method="POST")
def rotate_key(request: TenantRequest, pk: uuid.UUID) -> HttpResponse:
    """A new credential, and a time for which the old one goes on working."""
    api_key = selectors.api_key_of(request.tenant, pk)
    form = RotateForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        try:
            api_keys.rotate(api_key=api_key, actor=Actor.of(request), **form.cleaned_data)
        except UnableToChangeKey as refusal:
            form.add_error(None, str(refusal))
        else:
            messages.success(request, _rotated_text(api_key))
            return redirect("keys:detail", pk=pk)
    return render(request, "keys/rotate.html", {"form": form, "api_key": api_key})


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a confirm page asks: a title, the effect in plain words, the verb on its button."""

    title: str
    effect: str
    verb: str
    tone: str = "danger"


def _confirm(request: TenantRequest, api_key: ApiKey, question: Question) -> HttpResponse:
    context = {"question": question, "api_key": api_key, "cancel_url": reverse("keys:detail", args=[api_key.pk])}
    return render(request, "keys/confirm.html", context)


def _carry_out(request: TenantRequest, api_key: ApiKey, change: Callable[..., ApiKey], done: str) -> HttpResponse:
    """One call of a service, its outcome as a message, and back to the key."""
    try:
        change(api_key=api_key, actor=Actor.of(request))
    except UnableToChangeKey as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, done)
    return redirect("keys:detail", pk=api_key.pk)


def _disable_question(api_key: ApiKey) -> Question:
    return Question(
        title=_("Disable “%(name)s”?") % {"name": api_key.name},
        effect=_("Within about a minute the gateway answers calls with this key 403 Forbidden, until you enable it again."),
        verb=_("Disable this key"),
    )


def _enable_question(api_key: ApiKey) -> Question:
    return Question(
        title=_("Enable “%(name)s”?") % {"name": api_key.name},
        effect=_("Within about a minute calls with this key are answered again."),
        verb=_("Enable this key"),
        tone="calm",
    )


def _revoke_question(api_key: ApiKey) -> Question:
    if api_key.tier.has_own_credentials:
        effect = _("Within about a minute the gateway answers calls with this key 403 Forbidden, for ever. A revoked key cannot come back.")
    else:
        effect = _(
            "The key leaves your account at once and cannot come back. A copy of its credential may go on being answered until our "
            "staff replace it: if it leaked, tell our support."
        )
    return Question(title=_("Revoke “%(name)s” for ever?") % {"name": api_key.name}, effect=effect, verb=_("Revoke this key"))


def _rotated_text(api_key: ApiKey) -> str:
    """Read from the rows after the change, so that it says what is, also when a rotation ended the old one at once."""
    others = selectors.other_credentials(api_key, timezone.now())
    if not others:
        return _("The credential was replaced, and the old one was ended. Copy the new one into your programs.")
    return _("The credential was replaced. Put the new one into your programs before the old one (...%(last_four)s) ends.") % {
        "last_four": others[0].last_four
    }

"""Forms about people, organisations, tokens and webhooks: they check the shape of what was typed; services decide whether it may be."""

import uuid
from collections.abc import Collection
from datetime import timedelta
from typing import Any, cast

from allauth.account.forms import SignupForm as BaseSignupForm
from django import forms
from django.contrib.auth.hashers import make_password
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from tenants.audit import Actor
from tenants.models import Scope, User
from tenants.services import people
from tenants.services.tenants import LONGEST_NAME
from tenants.webhooks.endpoints import LONGEST_DESCRIPTION, TYPES


class SignupForm(BaseSignupForm):  # type: ignore[misc]  # allauth is untyped
    """Organisation, e-mail address, one password.

    An address that is known gets the same answer as a new one, after about the same time; its owner gets a mail that says so.
    """

    tenant_name = forms.CharField(
        label=_("Organisation"),
        max_length=100,
        widget=forms.TextInput(attrs={"autocomplete": "organization"}),
        help_text=_("Your company or team. It owns the keys that you buy."),
    )
    field_order = ["tenant_name", "email", "password1"]
    account_already_exists: bool  # set by allauth

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["email"].label = _("E-mail address")
        for field in self.fields.values():
            field.widget.attrs.pop("placeholder", None)

    def clean_tenant_name(self) -> str:
        """On one line, with single spaces."""
        return " ".join(self.cleaned_data["tenant_name"].split())

    def save(self, request: HttpRequest) -> User:
        """Called by allauth; raises EmailTaken where somebody was quicker with the same address."""
        return people.sign_up(
            email=self.cleaned_data["email"],
            password=self.cleaned_data["password1"],
            tenant_name=self.cleaned_data["tenant_name"],
            request_id=Actor.of(request).request_id,
        )

    def try_save(self, request: HttpRequest) -> tuple[User | None, HttpResponse | None]:
        if self.account_already_exists:
            make_password(self.cleaned_data["password1"])  # takes the time that a new account takes
        try:
            return super().try_save(request)  # type: ignore[no-any-return]  # allauth is untyped
        except people.EmailTaken:
            self.account_already_exists = True
            return super().try_save(request)  # type: ignore[no-any-return]  # allauth is untyped


class RenameForm(forms.Form):
    """What an organisation is called."""

    name = forms.CharField(
        label=_("Name"),
        max_length=LONGEST_NAME,
        help_text=_("Everybody in it sees this name. Nothing changes for keys and programs."),
        widget=forms.TextInput(attrs={"autocomplete": "organization"}),
        error_messages={"required": _("Give your organisation a name.")},
    )


class _SentOnceForm(forms.Form):
    """A form that makes something. Its id comes with the form, so that the same form sent twice makes one."""

    new_id = forms.UUIDField(
        widget=forms.HiddenInput(),
        initial=uuid.uuid4,
        error_messages={
            "required": _("This form is out of date. Open it again."),
            "invalid": _("This form is out of date. Open it again."),
        },
    )


_DAY = 24 * 3600
EXPIRY_CHOICES = [
    (str(30 * _DAY), _("30 days")),
    (str(90 * _DAY), _("90 days")),
    (str(365 * _DAY), _("A year")),
    ("", _("It does not expire: it works until somebody revokes it")),
]


class TokenForm(_SentOnceForm):
    """A token to make, with some of the scopes of its maker."""

    name = forms.CharField(
        label=_("Name"),
        max_length=100,
        help_text=_("What will use it, for example the CI pipeline of one repository."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        error_messages={"required": _("Give the token a name.")},
    )
    scopes = forms.MultipleChoiceField(
        label=_("What it may do"),
        label_suffix="",
        widget=forms.CheckboxSelectMultiple(),
        help_text=_("Choose as little as the program needs. Writing does not include reading."),
        error_messages={"required": _("Choose at least one.")},
    )
    lifetime = forms.TypedChoiceField(
        label=_("It expires after"),
        label_suffix="",
        choices=EXPIRY_CHOICES,
        coerce=lambda seconds: timedelta(seconds=int(seconds)),
        empty_value=None,
        required=False,
        initial=EXPIRY_CHOICES[1][0],
        widget=forms.RadioSelect(),
    )

    def __init__(self, *args: Any, within: Collection[Scope], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = [(scope.value, _coded(scope.value, scope.label)) for scope in Scope if scope in within]
        cast("forms.MultipleChoiceField", self.fields["scopes"]).choices = choices


class WebhookForm(forms.Form):
    """A URL that is told of some types of event."""

    url = forms.CharField(
        label=_("URL"),
        max_length=500,
        help_text=_("Where your program listens, with https:// and a certificate that is valid. Redirects are not followed."),
        widget=forms.URLInput(attrs={"autocomplete": "off", "spellcheck": "false", "placeholder": "https://example.com/webhooks"}),
        error_messages={"required": _("Give the URL that is to be told.")},
    )
    description = forms.CharField(
        label=_("Description"), max_length=LONGEST_DESCRIPTION, required=False, widget=forms.TextInput(attrs={"autocomplete": "off"})
    )
    types = forms.MultipleChoiceField(
        label=_("Tell it when"),
        label_suffix="",
        widget=forms.CheckboxSelectMultiple(),
        initial=[each.value for each in TYPES],
        error_messages={"required": _("Choose at least one.")},
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = [(each.value, _coded(each.value, each.label)) for each in TYPES]
        cast("forms.MultipleChoiceField", self.fields["types"]).choices = choices


class NewWebhookForm(WebhookForm, _SentOnceForm):
    """A webhook to register."""


def _coded(code: str, words: object) -> SafeString:
    """A choice as programs and as people call it."""
    return format_html('<span class="choice"><code>{}</code> <span>{}</span></span>', code, words)

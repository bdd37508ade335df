"""Forms about people."""

from typing import Any

from allauth.account.forms import SignupForm as BaseSignupForm
from django import forms
from django.contrib.auth.hashers import make_password
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _

from tenants.audit import Actor
from tenants.models import User
from tenants.services import people


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

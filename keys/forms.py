"""Forms of the tenant's pages: they check the shape of what was typed; services decide whether it may be."""

import uuid
from datetime import timedelta

from django import forms
from django.utils.translation import gettext_lazy as _

from keys.models import ApiKey
from keys.services.api_keys import GRACE_CHOICES

DEFAULT_GRACE_SECONDS = 24 * 3600


class NameForm(forms.Form):
    """What a tenant calls an API key. Both are the portal's own: API Gateway is not told."""

    name = forms.CharField(
        label=_("Name"),
        max_length=ApiKey._meta.get_field("name").max_length,
        help_text=_("How you will find it in your list, for example the program that uses it."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        error_messages={"required": _("Give the key a name.")},
    )
    description = forms.CharField(
        label=_("Description"),
        max_length=ApiKey._meta.get_field("description").max_length,
        required=False,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )


class BuyForm(NameForm):
    """One purchase. ``purchase_token`` is made with the form, so that the same form sent twice buys once."""

    purchase_token = forms.UUIDField(
        widget=forms.HiddenInput(),
        initial=uuid.uuid4,
        error_messages={
            "required": _("This form is out of date. Open it again."),
            "invalid": _("This form is out of date. Open it again."),
        },
    )


class RotateForm(forms.Form):
    """How long the old credential goes on working."""

    grace = forms.TypedChoiceField(
        label=_("The old credential goes on working for"),
        label_suffix="",
        choices=GRACE_CHOICES,
        coerce=lambda seconds: timedelta(seconds=int(seconds)),
        initial=DEFAULT_GRACE_SECONDS,
        widget=forms.RadioSelect(),
    )

"""The forms of a gateway and of its stages."""

from typing import Any

from django import forms
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from keys.admin.base import IntentForm, ModelForm, TabularInline
from keys.models import Gateway, Stage


class GatewayForm(IntentForm[Gateway]):
    """Account and Region are given once; the rest can change."""

    class Meta:
        model = Gateway
        fields = [
            "name",
            "account_id",
            "region",
            "role_arn",
            "external_id",
            "capacity",
            "propagation_seconds",
            "accepts_keys",
            "uses_imports",
        ]
        help_texts = {
            "name": gettext_lazy("How staff call it."),
            "account_id": gettext_lazy("12 digits. Chosen for good."),
            "region": gettext_lazy("As us-east-1. Chosen for good."),
            "role_arn": gettext_lazy(
                "As arn:aws:iam::123456789012:role/tollgate, of the same account. Empty: the workers' own credentials."
            ),
            "accepts_keys": gettext_lazy(
                "Untick to make no new keys here; the keys it holds go on working, but cannot be rotated. Where it is drained, they can."
            ),
        }

    def clean_capacity(self) -> int:
        capacity: int = self.cleaned_data["capacity"]
        if capacity < 1:
            raise forms.ValidationError(_("A gateway has room for at least 1 key."))
        return capacity


class StageForm(ModelForm[Stage]):
    """What names a stage is chosen once; what tenants call can change."""

    class Meta:
        model = Stage
        fields = ["rest_api_id", "name", "invoke_url", "test_path"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.instance._state.adding:
            self.fields["rest_api_id"].disabled = self.fields["name"].disabled = True

    def clean_test_path(self) -> str:
        test_path: str = self.cleaned_data["test_path"]
        if not test_path.startswith("/"):
            raise forms.ValidationError(_("Begin the path with a slash, as /api."))
        return test_path


class StageInline(TabularInline[Stage, Gateway]):
    """A gateway's stages. A new one can be served by tiers; nothing is sent to AWS."""

    model = Stage
    form = StageForm
    template = "admin/keys/gateway/stages.html"
    extra = 1
    can_delete = False
    verbose_name_plural = gettext_lazy("stages: where tenants call")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

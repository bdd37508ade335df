"""The form of a tier: what is sold, its limits, where it is served, and the size of its pool."""

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib.admin.widgets import AdminIntegerFieldWidget
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from keys.admin.base import IntentForm
from keys.models import Isolation, Stage, Tier
from keys.models.pool import LARGEST_POOL

if TYPE_CHECKING:
    StagesField = forms.ModelMultipleChoiceField[Stage]
else:
    StagesField = forms.ModelMultipleChoiceField


class StageChoices(StagesField):
    """Stages with the gateway they are on: two accounts may well have an API and a stage of the same name."""

    def label_from_instance(self, obj: Stage) -> str:
        return _("%(stage)s on %(gateway)s") % {"stage": obj, "gateway": obj.gateway}


class TierForm(IntentForm[Tier]):
    """Checks the shape; the services decide."""

    stages = StageChoices(
        label=gettext_lazy("Stages served"),
        queryset=Stage.objects.select_related("gateway").order_by("gateway__name", "rest_api_id", "name"),
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": gettext_lazy("Choose at least one stage that the tier serves.")},
        help_text=gettext_lazy("Their gateways get a usage plan for this tier, and new keys are made there."),
    )
    pool_size = forms.IntegerField(
        label=gettext_lazy("Pool size"),
        min_value=1,
        max_value=LARGEST_POOL,
        required=False,
        widget=AdminIntegerFieldWidget,
        help_text=gettext_lazy("Shared gateway keys; pooled tiers only. Each tenant of the tier stands on one of them."),
    )

    class Meta:
        model = Tier
        fields = "__all__"  # what is in no fieldset is not in the form

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        rate = self.initial.get("throttle_rate")
        if isinstance(rate, Decimal):
            self.initial["throttle_rate"] = Decimal(format(rate.normalize(), "f"))  # 10, neither 10.000 nor 1E+1
        if not self.instance._state.adding and self.instance.is_pooled:
            self.initial["pool_size"] = self.instance.pool.size
            if "pool_size" in self.fields:
                self.fields["pool_size"].required = True

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if cleaned.get("quota_limit") and not cleaned.get("quota_period"):
            self.add_error("quota_period", _("Choose the period of the quota, or leave the quota empty."))
        if cleaned.get("quota_period") and not cleaned.get("quota_limit") and "quota_limit" not in self.errors:
            self.add_error("quota_limit", _("Give the quota of the period, or choose no period."))
        if self.instance._state.adding:
            self._check_isolation(cleaned)
        return cleaned

    def _check_isolation(self, cleaned: dict[str, Any]) -> None:
        pooled = cleaned.get("isolation") == Isolation.POOLED
        if pooled and not cleaned.get("pool_size") and "pool_size" not in self.errors:
            self.add_error("pool_size", _("A pooled tier needs a pool size of at least 1."))
        if pooled and cleaned.get("spare_target"):
            self.add_error("spare_target", _("Only a siloed tier has spares; set it to 0."))
        if cleaned.get("isolation") == Isolation.SILOED and cleaned.get("pool_size"):
            self.add_error("pool_size", _("A siloed tier has no pool; leave this empty."))

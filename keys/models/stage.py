"""Where tenants call."""

import uuid
from urllib.parse import urlsplit

from django.core.validators import URLValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from keys.models.gateway import Gateway


class Stage(models.Model):
    """One deployed stage of one REST API on a gateway."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    gateway = models.ForeignKey(Gateway, on_delete=models.PROTECT, related_name="stages", verbose_name=_("gateway"))
    rest_api_id = models.CharField(_("REST API id"), max_length=64)
    name = models.CharField(_("stage name"), max_length=128)
    invoke_url = models.CharField(
        _("invoke URL"),
        max_length=300,
        validators=[URLValidator(schemes=["https", "http"])],
        help_text=_("What tenants call, without the last slash."),
    )
    test_path = models.CharField(
        _("test path"), max_length=200, default="/api", help_text=_("What the console and snippets call: a GET that needs a key.")
    )

    class Meta:
        verbose_name = _("stage")
        verbose_name_plural = _("stages")
        constraints = [
            models.UniqueConstraint(fields=["gateway", "rest_api_id", "name"], name="stage_once_a_gateway_api_and_name"),
            models.CheckConstraint(condition=models.Q(test_path__startswith="/"), name="stage_test_path_starts_with_a_slash"),
        ]

    def __str__(self) -> str:
        return f"{self.rest_api_id}:{self.name}"

    @property
    def remote_key(self) -> str:
        """How usage plans name a stage: ``apiId:stage``."""
        return f"{self.rest_api_id}:{self.name}"

    @property
    def origin(self) -> str:
        """Scheme, host and port: what a page's connect-src names."""
        parts = urlsplit(self.invoke_url)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def test_url(self) -> str:
        return f"{self.invoke_url}{self.test_path}"

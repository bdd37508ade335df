"""What Django's error reports may show."""

import re
from collections.abc import ItemsView
from types import FrameType
from typing import Any

from django.http import HttpRequest
from django.views.debug import SafeExceptionReporterFilter

from portal.scrubbing import SECRET_NAMES


class NoSecretsFilter(SafeExceptionReporterFilter):
    """No local variables and no form fields at all, also with DEBUG on: either may hold a credential or a password."""

    hidden_settings = re.compile(rf"{SECRET_NAMES.pattern}|API|KEY|SIGNATURE|URL|DATABASES|CACHES|HTTP_COOKIE", re.IGNORECASE)

    def get_traceback_frame_variables(self, request: HttpRequest | None, tb_frame: FrameType) -> ItemsView[str, Any]:
        return dict[str, Any]().items()

    def get_post_parameters(self, request: HttpRequest | None) -> dict[str, Any]:
        return {}

"""The REST API's description, docs/openapi.yaml, read by libyaml: the same in pure Python takes two seconds."""

from pathlib import Path
from typing import Any

import yaml
from django.conf import settings

PATH = Path(settings.BASE_DIR) / "docs" / "openapi.yaml"


def read_yaml(text: str | bytes) -> Any:
    """What a YAML document holds; plain types alone."""
    return yaml.load(text, Loader=yaml.CSafeLoader)


def description() -> dict[str, Any]:
    """A copy of one's own."""
    described: dict[str, Any] = read_yaml(PATH.read_bytes())
    return described

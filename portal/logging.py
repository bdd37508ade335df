"""Placeholder until the structured logging lands."""

from typing import Any


def logging_settings(*, level: str, renderer: str) -> dict[str, Any]:
    return {"version": 1, "disable_existing_loggers": False}

"""A client of the REST API, and tokens for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.api import ApiClient, make_client


@pytest.fixture
def api(alice: Any) -> ApiClient:
    """Alice, owner of Acme, through a token with every scope."""
    return make_client(alice)


@pytest.fixture
def as_person() -> Callable[..., ApiClient]:
    """``as_person(bob, scopes=[...])``: a client with a token of that person."""
    return make_client

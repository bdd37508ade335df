"""Staff who call: Sam with every right, and people who have some."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tenants.models import User
from tests.support.api import ApiClient, make_client
from tests.support.cast import make_user


@pytest.fixture
def staff(sam: User) -> ApiClient:
    """Sam, who may do everything."""
    return make_client(sam)


@pytest.fixture
def clerk(db: None) -> Callable[..., ApiClient]:
    """``clerk("keys.view_tier")``: a member of staff with these permissions and no others."""

    def make(*permissions: str) -> ApiClient:
        user = make_user(f"clerk-{User.objects.count()}@example.com", is_staff=True)
        for permission in permissions:
            app, _dot, codename = permission.partition(".")
            user.user_permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))
        return make_client(user)

    return make


@pytest.fixture
def queries_of() -> Callable[[ApiClient, str], int]:
    """How many queries a GET takes, once the token's use has been noted."""

    def count(client: ApiClient, path: str) -> int:
        assert client.get(path).status_code == 200
        with CaptureQueriesContext(connection) as queries:
            client.get(path)
        return len(queries)

    return count


def told(answer: Any) -> tuple[int, str, str]:
    """Status, slug and detail of a problem."""
    problem = answer.json()
    return answer.status_code, problem["type"].rstrip("/").rpartition("/")[2], problem["detail"]

from typing import Any

import pytest
from django.test import Client

from tenants.models import User


@pytest.fixture
def staff(client: Client, sam: User) -> Client:
    client.force_login(sam)
    return client


def messages_of(response: Any) -> str:
    """Everything the page that followed said."""
    return " ".join(str(message) for message in response.context["messages"])

"""A revoked token is refused by every process within two seconds, also where processes remember tokens."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tenants.models import Membership, Token, User
from tests.support.api import token_for
from tests.support.web import web_process

pytestmark = [pytest.mark.slow, pytest.mark.flow, pytest.mark.django_db(transaction=True)]
LONGEST = 2.0
OPTIONS = {"API_TOKEN_CACHE_SECONDS": "2", "API_REQUESTS_PER_MINUTE": "1000000"}


@pytest.mark.parametrize("how", ["revoked", "maker left"])
def test_every_process_refuses_within_two_seconds(alice: User, tmp_path: Path, how: str) -> None:
    secret, owner = token_for(alice, name="Lost"), token_for(alice, name="Owner")
    path = f"/api/v1/tokens/{Token.objects.get(name='Lost').pk}"
    with web_process(tmp_path, **OPTIONS) as first, web_process(tmp_path, **OPTIONS) as second:
        servers = [first, second]
        assert [web.call("GET", "/api/v1/tenant", secret=secret).status for web in servers] == [200, 200]
        if how == "revoked":
            assert first.call("DELETE", path, secret=owner).status == 204
        else:
            Membership.objects.filter(user=alice).delete()
        revoked = time.monotonic()
        last_let_in = revoked
        refused: set[str] = set()
        while len(refused) < 2 and time.monotonic() < revoked + 10:
            for web in servers:
                began = time.monotonic()
                status = web.call("GET", "/api/v1/tenant", secret=secret).status
                assert status in {200, 401}
                if status == 200:
                    assert web.url not in refused, "refused, then let in again"
                    last_let_in = max(last_let_in, began)
                else:
                    refused.add(web.url)
        assert len(refused) == 2
        assert last_let_in - revoked <= LONGEST

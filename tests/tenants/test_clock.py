"""What processes compare goes by the database's clock: a web server whose own clock is wrong gives tokens the end that was asked for."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.utils import timezone

from tenants import token_lookup
from tenants.audit import SYSTEM
from tenants.clock import database_now
from tenants.models import IdempotentAnswer, Scope, Tenant, Token, User
from tenants.services.housekeeping import ANSWERS_KEPT, forget_old_answers
from tenants.services.tokens import SHOWN, UnableToMakeToken, make_token
from tests.support.api import token_for
from tests.support.clocks import OFFSETS, clock_off_by

pytestmark = [pytest.mark.django_db, pytest.mark.flow]  # "flow": on both databases
# SQLite's clock is cut to it.
TICK = timedelta(milliseconds=1)


@pytest.mark.parametrize("offset", OFFSETS)
def test_clock_of_the_database_is_not_the_process_s(offset: float) -> None:
    before = timezone.now()
    with clock_off_by(offset):
        now = database_now()

    assert before - TICK <= now <= timezone.now()
    assert database_now() >= now


@pytest.mark.parametrize("offset", OFFSETS)
def test_token_is_made_and_ends_by_the_database_s_clock(offset: float, alice: User, acme: Tenant) -> None:
    soon = timezone.now() + timedelta(minutes=30)
    values = {"user": alice, "tenant": acme, "name": "Nightly", "scopes": [Scope.KEYS_READ], "within": [Scope.KEYS_READ], "actor": SYSTEM}
    with clock_off_by(offset):
        token, secret = make_token(expires_at=soon, **values)
        with pytest.raises(UnableToMakeToken):
            make_token(expires_at=soon - timedelta(minutes=31), **values)
        found = token_lookup.find_token(secret[:SHOWN])

        assert found is not None
        assert not found.has_expired()
        token_lookup.note_use(found)
    token.refresh_from_db()
    assert token.last_used_at is not None
    assert abs(token.last_used_at - timezone.now()) < timedelta(minutes=5)


@pytest.mark.parametrize("offset", OFFSETS)
def test_token_that_ended_is_refused(offset: float, alice: User, acme: Tenant) -> None:
    secret = token_for(alice, expires_at=timezone.now() + timedelta(days=2))
    Token.objects.update(created_at=timezone.now() - timedelta(hours=2), expires_at=timezone.now() - timedelta(minutes=1))

    with clock_off_by(offset):
        found = token_lookup.find_token(secret[:SHOWN])

        assert found is not None
        assert found.has_expired()


@pytest.mark.parametrize("offset", OFFSETS)
def test_token_of_a_command_lasts_as_many_days_as_it_says(offset: float, alice: User, acme: Tenant) -> None:
    with clock_off_by(offset):
        said = {"stdout": StringIO(), "stderr": StringIO()}
        call_command("create_token", "--email", alice.email, "--name", "CI", "--scope", "keys:read", "--days", "30", **said)

    expires_at = Token.objects.get().expires_at
    assert expires_at is not None
    assert abs(expires_at - timezone.now() - timedelta(days=30)) < timedelta(minutes=5)


@pytest.mark.parametrize("offset", OFFSETS)
def test_answers_are_kept_as_long_as_promised(offset: float) -> None:
    for key, age in (("young", ANSWERS_KEPT - timedelta(minutes=5)), ("old", ANSWERS_KEPT + timedelta(minutes=5))):
        IdempotentAnswer.objects.create(caller="c", key=key, fingerprint="f")
        IdempotentAnswer.objects.filter(key=key).update(created_at=timezone.now() - age)

    with clock_off_by(offset):
        assert forget_old_answers() == 1

    assert IdempotentAnswer.objects.get().key == "young"

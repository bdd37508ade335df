"""The audit trail is append-only: in Python, and on PostgreSQL in the database."""

import pytest
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, connection, transaction

from tenants.audit import SYSTEM, Actor, record
from tenants.models import AuditEvent, Tenant


@pytest.fixture
def event(acme: Tenant) -> AuditEvent:
    """One event."""
    return record(actor=SYSTEM, action="tenant.created", target=acme, tenant=acme)


def test_events_are_not_changed_through_models(event: AuditEvent) -> None:
    event.action = "tenant.renamed"

    with pytest.raises(PermissionDenied):
        event.save()
    with pytest.raises(PermissionDenied):
        event.delete()
    with pytest.raises(PermissionDenied):
        AuditEvent.objects.update(action="tenant.renamed")
    with pytest.raises(PermissionDenied):
        AuditEvent.objects.all().delete()


@pytest.mark.postgres
@pytest.mark.parametrize("sql", ["UPDATE tenants_auditevent SET action = 'x'", "DELETE FROM tenants_auditevent"])
def test_events_are_not_changed_by_sql(event: AuditEvent, sql: str) -> None:
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql)

    assert AuditEvent.objects.get().action == "tenant.created"


@pytest.mark.postgres
def test_test_runs_may_still_empty_the_table(transactional_db: None, event: AuditEvent) -> None:
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE tenants_auditevent")

    assert not AuditEvent.objects.exists()


def test_commands_name_themselves() -> None:
    assert Actor.command("createsuperuser").label == "manage.py createsuperuser"

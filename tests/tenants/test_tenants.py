import pytest

from tenants.audit import SYSTEM
from tenants.models import AuditEvent, Tenant
from tenants.services.tenants import LONGEST_NAME, UnableToRenameTenant, rename_tenant

pytestmark = pytest.mark.django_db


def test_new_name_is_kept_and_audited(acme: Tenant) -> None:
    renamed = rename_tenant(tenant=acme, name="  Acme & Sons ", actor=SYSTEM)

    acme.refresh_from_db()
    assert (renamed.name, acme.name) == ("Acme & Sons", "Acme & Sons")
    event = AuditEvent.objects.get(action="tenant.renamed")
    assert (event.tenant, event.data) == (acme, {"before": "Acme", "after": "Acme & Sons"})


def test_same_name_is_no_change(acme: Tenant) -> None:
    rename_tenant(tenant=acme, name="Acme", actor=SYSTEM)

    assert not AuditEvent.objects.exists()


@pytest.mark.parametrize("name", ["", "   ", "x" * (LONGEST_NAME + 1), "Ac\0me"])
def test_unfit_name_is_refused(acme: Tenant, name: str) -> None:
    with pytest.raises(UnableToRenameTenant):
        rename_tenant(tenant=acme, name=name, actor=SYSTEM)

    acme.refresh_from_db()
    assert acme.name == "Acme"


def test_longest_name_is_taken(acme: Tenant) -> None:
    assert rename_tenant(tenant=acme, name="x" * LONGEST_NAME, actor=SYSTEM).name == "x" * LONGEST_NAME


def test_new_name_stands_on_one_line(acme: Tenant) -> None:
    assert rename_tenant(tenant=acme, name="Acme\r\n  &\tSons\u2028Ltd", actor=SYSTEM).name == "Acme & Sons Ltd"

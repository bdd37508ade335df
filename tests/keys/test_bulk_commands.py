"""import_keys and export_keys, as operators type them."""

import csv
import io
import stat
import tracemalloc
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from keys import values
from keys.models import ApiKey, Credential, GatewayKey, Tier
from keys.services import api_keys, catalog, purchases, tenants
from tenants.audit import SYSTEM
from tenants.models import AuditEvent, Tenant
from tests.keys.test_sheets import PAYLOADS
from tests.support.factories import bring_into_service, buy, make_tenant, make_tier

pytestmark = pytest.mark.django_db


@pytest.fixture
def free() -> Tier:
    tier = make_tier(slug="free", pool_size=3, max_api_keys=5000)
    bring_into_service()
    return tier


class Files:
    """Runs the commands on files of one folder."""

    def __init__(self, folder: Path, tenant: Tenant) -> None:
        self.source, self.output, self.tenant = folder / "in.csv", folder / "out.csv", tenant
        self.said = io.StringIO()

    def buy(self, content: str | bytes, **options: Any) -> list[dict[str, str]]:
        self.source.write_bytes(content.encode() if isinstance(content, str) else content)
        self.said = io.StringIO()
        self.output.unlink(missing_ok=True)
        outputs: dict[str, Any] = {"stderr": self.said, "stdout": self.said}
        call_command("import_keys", str(self.source), tenant=str(self.tenant.pk), output=self.output, **outputs, **options)
        return self.rows()

    def export(self, **options: Any) -> list[dict[str, str]]:
        call_command("export_keys", tenant=str(self.tenant.pk), output=self.output, stderr=io.StringIO(), **options)
        return self.rows()

    def rows(self) -> list[dict[str, str]]:
        with self.output.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))


@pytest.fixture
def files(tmp_path: Path, acme: Tenant) -> Files:
    return Files(tmp_path, acme)


# --- Importing


def test_each_line_is_bought_and_told_of(files: Files, free: Tier) -> None:
    make_tier(slug="own")

    rows = files.buy('tier,name,description,reference\nfree,Shop,"For a, b",r1\nown,Till,,\n')

    shop, till = ApiKey.objects.get(name="Shop"), ApiKey.objects.get(name="Till")
    endpoint = "http://127.0.0.1:4510/_aws/execute-api/groceries/v1"
    assert rows == [
        {"line": "2", "reference": "r1", "name": "Shop", "status": "ready", "id": str(shop.pk), "endpoint": endpoint, "error": ""},
        {"line": "3", "reference": "", "name": "Till", "status": "preparing", "id": str(till.pk), "endpoint": endpoint, "error": ""},
    ]
    assert (shop.description, shop.tenant, till.tier.slug) == ("For a, b", files.tenant, "own")
    assert "2 keys stand, 0 lines were refused" in files.said.getvalue()
    assert {event.actor_label for event in AuditEvent.objects.filter(action="api_key.bought")} == {"manage.py import_keys"}


def test_output_is_private_and_holds_no_credential(files: Files, free: Tier) -> None:
    files.buy("tier,name\nfree,Shop\n")

    assert stat.S_IMODE(files.output.stat().st_mode) == 0o600
    assert values.PREFIX not in files.output.read_text()
    assert not AuditEvent.objects.filter(action="api_key.revealed").exists()


def test_credentials_are_written_when_asked_for_and_audited(files: Files, free: Tier) -> None:
    rows = files.buy("tier,name\nfree,Shop\nfree,Till\n", with_credentials=True)

    api_key = ApiKey.objects.get(name="Shop")
    assert rows[0]["credential"] == values.decrypt(api_key.gateway_key.value_encrypted)
    assert AuditEvent.objects.filter(action="api_key.revealed", actor_label="manage.py import_keys").count() == 2


def test_same_file_again_buys_nothing_and_tells_the_same(files: Files, free: Tier) -> None:
    content = "tier,name,reference\nfree,Shop,\nfree,Shop,\nfree,Till,r1\n"

    first, again = files.buy(content), files.buy(content)

    assert first == again
    assert ApiKey.objects.count() == Credential.objects.count() == 3


def test_reference_is_known_in_another_file_and_line(files: Files, free: Tier) -> None:
    make_tier(slug="own")
    files.buy("tier,name,reference\nfree,Shop,r1\n")

    rows = files.buy("tier,name,reference\nfree,New,r0\nown,Shop,r1\n")

    assert ApiKey.objects.count() == 2
    assert rows[1]["id"] == str(ApiKey.objects.get(name="Shop").pk)
    assert rows[1]["error"] == "Bought before, of the tier free; nothing was changed."


def test_other_tenants_buy_the_same_file_for_themselves(files: Files, free: Tier, tmp_path: Path) -> None:
    files.buy("tier,name,reference\nfree,Shop,r1\n")

    Files(tmp_path, make_tenant()).buy("tier,name,reference\nfree,Shop,r1\n")

    assert ApiKey.objects.count() == 2


def test_import_that_was_broken_off_goes_on(files: Files, free: Tier, monkeypatch: pytest.MonkeyPatch) -> None:
    content = "tier,name\n" + "".join(f"free,Shop {number}\n" for number in range(2500))
    buy_many, calls = purchases.buy_many, []

    def breaks_in_the_third(**arguments: Any) -> Any:
        calls.append(len(arguments["items"]))
        if len(calls) == 3:
            raise RuntimeError("killed")
        return buy_many(**arguments)

    monkeypatch.setattr(purchases, "buy_many", breaks_in_the_third)
    with pytest.raises(RuntimeError, match="killed"):
        files.buy(content)
    assert (calls, ApiKey.objects.count(), len(files.rows())) == ([1000, 1000, 500], 2000, 2000)

    rows = files.buy(content)

    assert ApiKey.objects.count() == 2500
    assert [row["name"] for row in rows] == [f"Shop {number}" for number in range(2500)]
    assert len({row["id"] for row in rows}) == 2500


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("gold,Shop", "line 3: there is no tier “gold”. On sale: free."),
        ("old,Shop", "line 3: no longer sold is “old”. On sale: free."),
        (",Shop", "line 3: there is no tier “”."),
        ("free,", "line 3: Give the key a name."),
        ("free,   ", "line 3: Give the key a name."),
        (f"free,{'x' * 101}", "line 3: name: at most 100 characters; this one has 101."),
        (f"free,Shop,{'x' * 501}", "line 3: description: at most 500 characters; this one has 501."),
        ("free,Sh\0op", "line 3: name: it holds a character that cannot be kept"),
        ("free,Shop,,,", "line 3: 5 cells, and the header has 3"),
    ],
)
def test_file_with_an_error_buys_nothing(files: Files, free: Tier, line: str, problem: str) -> None:
    catalog.retire_tier(tier=make_tier(slug="old"), actor=SYSTEM)
    line += "," * max(0, 2 - line.count(","))

    with pytest.raises(CommandError, match="Nothing was bought"):
        files.buy(f"tier,name,description\nfree,Fine,\n{line}\n")

    assert problem in files.said.getvalue()
    assert not ApiKey.objects.exists()
    assert not files.output.exists()


def test_long_list_of_problems_is_cut(files: Files, free: Tier) -> None:
    with pytest.raises(CommandError, match="30 more lines"):
        files.buy("tier,name\n" + "gold,Shop\n" * 80)

    assert files.said.getvalue().count("no tier") == 50


def test_dry_run_buys_nothing_and_says_what_would_be(files: Files, free: Tier) -> None:
    content = "tier,name,reference\nfree,Shop,r1\nfree,Till,r2\n"
    files.buy("tier,name,reference\nfree,Shop,r1\n")
    files.output.unlink()
    files.source.write_text(content)

    call_command("import_keys", str(files.source), tenant=str(files.tenant.pk), dry_run=True, output=files.output, stdout=files.said)

    assert "2 lines, 1 of them bought before." in files.said.getvalue()
    assert "free: 1 to buy; its maximum allows 4,999 more." in files.said.getvalue()
    assert ApiKey.objects.count() == 1
    assert not files.output.exists()


def test_dry_run_fails_where_lines_would_be_refused(files: Files) -> None:
    make_tier(slug="free", pool_size=1, max_api_keys=1)

    with pytest.raises(CommandError, match="would be refused"):
        files.buy("tier,name\nfree,Shop\nfree,Till\n", dry_run=True)


def test_refused_lines_are_told_and_tried_again(files: Files) -> None:
    tier = make_tier(slug="free", pool_size=1, max_api_keys=1)
    content = "tier,name\nfree,Shop\nfree,Till\n"

    with pytest.raises(CommandError, match="tries the refused lines"):
        files.buy(content)
    rows = files.rows()
    assert [(row["status"], row["error"][:14]) for row in rows] == [("preparing", ""), ("refused", "You have 1 key")]

    Tier.objects.filter(pk=tier.pk).update(max_api_keys=2)
    assert files.buy(content)[0]["id"] == rows[0]["id"]
    assert ApiKey.objects.count() == 2


def test_nothing_is_imported_for_a_suspended_tenant(files: Files, free: Tier) -> None:
    tenants.suspend(tenant=files.tenant, reason="Unpaid", actor=SYSTEM)

    with pytest.raises(CommandError, match="Acme is suspended"):
        files.buy("tier,name\nfree,Shop\n")


def test_output_may_not_be_the_file_itself(files: Files, free: Tier) -> None:
    files.source.write_text("tier,name\nfree,Shop\n")

    with pytest.raises(CommandError, match="to be imported"):
        call_command("import_keys", str(files.source), tenant=str(files.tenant.pk), output=files.source)

    assert files.source.read_text() == "tier,name\nfree,Shop\n"
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize("tenant", ["nonsense", str(uuid.UUID(int=7)), ""])
@pytest.mark.parametrize("command", ["import_keys", "export_keys"])
def test_unknown_tenant_is_refused(files: Files, command: str, tenant: str) -> None:
    arguments = [str(files.source)] if command == "import_keys" else []

    with pytest.raises(CommandError, match="--tenant"):
        call_command(command, *arguments, tenant=tenant)


def test_missing_file_and_unwritable_output_are_refused(files: Files, free: Tier, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"cannot be read \(No such file"):
        call_command("import_keys", str(files.source), tenant=str(files.tenant.pk))
    files.source.write_text("tier,name\nfree,Shop\n")
    with pytest.raises(CommandError, match="--output"):
        call_command("import_keys", str(files.source), tenant=str(files.tenant.pk), output=tmp_path / "no" / "where.csv")

    assert not ApiKey.objects.exists()


def test_without_output_rows_go_to_standard_output(files: Files, free: Tier, capsys: pytest.CaptureFixture[str]) -> None:
    files.source.write_text("tier,name\nfree,Shop\n")

    call_command("import_keys", str(files.source), tenant=str(files.tenant.pk))

    said = capsys.readouterr()
    [row] = csv.DictReader(io.StringIO(said.out))
    assert row["name"] == "Shop"
    assert "1 key stands" in said.err


# --- Exporting


def test_live_keys_are_written_oldest_first(files: Files, free: Tier) -> None:
    keys = [buy(files.tenant, free, name=f"Shop {number}") for number in range(3)]
    buy(make_tenant(), free, name="Another's")
    api_keys.revoke(api_key=keys[1], actor=SYSTEM)

    rows = files.export()

    assert [row["name"] for row in rows] == ["Shop 0", "Shop 2"]
    assert rows[0]["id"] == str(keys[0].pk)
    assert rows[0]["status"] == "ready"
    assert rows[0]["endpoint"].endswith("/groceries/v1")
    assert rows[0]["created_at"].endswith("Z")
    assert "credential" not in rows[0]
    assert stat.S_IMODE(files.output.stat().st_mode) == 0o600
    assert [row["status"] for row in files.export(revoked=True)] == ["ready", "revoked", "ready"]


def test_exported_credentials_are_audited_each(files: Files, free: Tier) -> None:
    kept, gone = buy(files.tenant, free), buy(files.tenant, free)
    api_keys.revoke(api_key=gone, actor=SYSTEM)

    rows = files.export(with_credentials=True, revoked=True)

    value = values.decrypt(GatewayKey.objects.get(pk=kept.gateway_key_id).value_encrypted)
    assert {row["id"]: row["credential"] for row in rows} == {str(kept.pk): value, str(gone.pk): ""}
    event = AuditEvent.objects.get(action="api_key.revealed")
    assert (event.target_id, event.actor_label, event.tenant) == (str(kept.pk), "manage.py export_keys", files.tenant)
    assert value not in str(event.data)


def test_credentials_of_a_suspended_tenant_are_not_exported(files: Files, free: Tier) -> None:
    buy(files.tenant, free)
    tenants.suspend(tenant=files.tenant, reason="Unpaid", actor=SYSTEM)

    with pytest.raises(CommandError, match="Acme is suspended"):
        files.export(with_credentials=True)

    assert [row["status"] for row in files.export()] == ["disabled"]


def test_names_come_back_through_export_and_import(files: Files, free: Tier, tmp_path: Path) -> None:
    names = [name for name in [*PAYLOADS, "two\nlines", "a\r\nb", "a, b", 'say "hi"', "ünï, 日本"] if "\0" not in name]
    for name in names:
        buy(files.tenant, free, name=name)
    files.export(columns="tier,name,description")
    exported = files.output.read_bytes()

    Files(tmp_path, other := make_tenant()).buy(exported)

    assert sorted(ApiKey.objects.of(other).values_list("name", flat=True)) == sorted(names)


@pytest.mark.parametrize("columns", ["id,value_encrypted", "id,id", ""])
def test_unknown_columns_are_refused(files: Files, columns: str) -> None:
    with pytest.raises(CommandError, match="--columns"):
        files.export(columns=columns)


def test_pages_hold_every_key_once_whatever_their_moments(files: Files, free: Tier) -> None:
    from keys import selectors

    outcomes = purchases.buy_many(tenant=files.tenant, items=[purchases.Item(tier=free, name="Shop") for _ in range(40)], actor=SYSTEM)
    outcomes += [buy(files.tenant, free) for _ in range(10)]

    pages = list(selectors.api_keys_in_pages(files.tenant, size=7))

    assert max(map(len, pages)) == 7
    found = [each.pk for page in pages for each in page]
    assert len(found) == len(set(found)) == 50
    assert found == list(ApiKey.objects.order_by("created_at", "pk").values_list("pk", flat=True))


@pytest.mark.slow
def test_memory_does_not_grow_with_the_keys(files: Files, free: Tier) -> None:
    gateway_key = GatewayKey.objects.filter(pool__tier=free).first()
    assert gateway_key is not None

    def peak() -> int:
        tracemalloc.start()
        call_command("export_keys", tenant=str(files.tenant.pk), output=files.output, stderr=io.StringIO())
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    def make(first: int, last: int) -> None:
        ApiKey.objects.bulk_create(
            [
                ApiKey(tenant=files.tenant, tier=free, gateway_key=gateway_key, slot=slot, name=f"Shop {slot}", created_at=timezone.now())
                for slot in range(first, last)
            ],
            batch_size=1000,
        )

    make(1000, 3000)
    few = peak()
    make(3000, 13000)

    assert peak() < few * 1.3
    assert len(files.rows()) == 12_000

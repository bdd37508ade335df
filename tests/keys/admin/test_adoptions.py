import re
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from keys.admin.adoption_form import LARGEST_LIST
from keys.models import Adoption, AdoptionState, Gateway
from keys.proposals import KeySeen, PlanSeen, Proposal
from tenants.models import AuditEvent
from tests.keys.admin.conftest import messages_of
from tests.support.cast import make_user
from tests.support.factories import make_stage, make_tenant

pytestmark = pytest.mark.django_db

LIST = "/staff/keys/adoption/"


@pytest.fixture
def gateway() -> Gateway:
    return make_stage().gateway


def plan(number: int, **fields: Any) -> PlanSeen:
    keys = tuple(KeySeen(id=f"k{number}-{each}", name=f"shop {each}", enabled=True) for each in range(12))
    values = {"rate": 1, "burst": 2, "quota_limit": None, "quota_period": "", "stages": ("groceries:v1",), "keys": keys}
    return PlanSeen(**{"id": f"p{number}", "name": f"Plan {number}", **values, **fields})


def proposed(gateway: Gateway, *plans: PlanSeen) -> Adoption:
    proposal = Proposal(plans=plans, loose_keys=1).as_json()
    return Adoption.objects.create(gateway=gateway, proposal=proposal, proposed_at=gateway.created_at)


def url_of(adoption: Adoption, page: str = "change") -> str:
    return f"{LIST}{adoption.pk}/{page}/"


def inputs(number: int = 1, **changes: Any) -> dict[str, Any]:
    values = {"take": "siloed", "tier": "old", "name": "Old", "tenant": "", "holders": "", "quota_period": ""}
    return {f"p{number}-{name}": value for name, value in {**values, **changes}.items()}


def sent_again(page: str, button: str = "_confirm", **more: str) -> dict[str, str]:
    """What the page that shows the numbers sends when one of its buttons is pressed."""
    found = re.findall(r'<input type="hidden" name="(p[^"]+|csrf\w+)" value="([^"]*)">', page)
    assert "csrfmiddlewaretoken" in dict(found)
    return {**{name: unescape(value) for name, value in found}, button: "1", **more}


def test_adoption_is_asked_for_on_the_gateways_page(staff: Client, gateway: Gateway) -> None:
    page = staff.get(f"/staff/keys/gateway/{gateway.pk}/adopt/").content.decode()
    assert "Nothing is changed." in page

    response = staff.post(f"/staff/keys/gateway/{gateway.pk}/adopt/", follow=True)

    assert "A worker looks what others made" in messages_of(response)
    assert Adoption.objects.get().state is AdoptionState.LOOKING
    again = staff.post(f"/staff/keys/gateway/{gateway.pk}/adopt/").content.decode()
    assert "decide about it or withdraw it first" in again


def test_page_shows_what_was_found_and_the_list_how_far_it_is(staff: Client, gateway: Gateway) -> None:
    adoption = proposed(gateway, plan(1, rate=None))

    page = staff.get(url_of(adoption)).content.decode()

    for words in ("Plan 1", "k1-0", "and 2 more keys", "The plan has no rate above 0", "1 key is in no usage plan", "groceries:v1"):
        assert words in page
    assert "Waits for a decision" in staff.get(f"{LIST}?state=proposed").content.decode()
    assert f"/adoption/{adoption.pk}/" not in staff.get(f"{LIST}?state=applied").content.decode()


def test_decisions_are_kept(staff: Client, gateway: Gateway) -> None:
    adoption = proposed(gateway, plan(1), plan(2))
    assert 'value="plan-2"' in staff.get(url_of(adoption, "decide")).content.decode()

    holders = "k1-0, Acme\n\nk1-1,Beta, Ltd\n"
    fields = {**inputs(1, holders=holders, throttle_rate="2.5"), **inputs(2, take="leave")}
    page = staff.post(url_of(adoption, "decide"), fields).content.decode()
    for words in ("12 keys are taken over.", "1 new tier, closed", "12 new tenants, 10 of them named after 10 keys that you named no"):
        assert words in page
    adoption.refresh_from_db()
    assert adoption.state is AdoptionState.PROPOSED

    response = staff.post(url_of(adoption, "decide"), sent_again(page), follow=True)

    assert "A worker takes over what you decided" in messages_of(response)
    adoption.refresh_from_db()
    first, second = adoption.decisions["plans"]
    assert (first["take"], first["tier"], first["throttle_rate"], second["take"]) == ("siloed", "old", "2.5", "leave")
    assert first["holders"] == {"k1-0": ["Acme"], "k1-1": ["Beta, Ltd"]}
    assert AuditEvent.objects.get(action="adoption.confirmed").actor_label == "sam@example.com"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"take": "leave"}, "choose what becomes of one usage plan at least", id="nothing"),
        pytest.param({"tier": "-?-"}, "Enter a valid", id="slug"),
        pytest.param({"holders": "k1-0"}, "Line 1: write the key&#x27;s id, a comma, and the tenant.", id="no comma"),
        pytest.param({"holders": "k9, Acme"}, "has no key k9", id="unknown key"),
        pytest.param({"holders": "k1-0, A\nk1-0, B"}, "A siloed key belongs to one tenant", id="two tenants"),
        pytest.param({"quota_limit": "5"}, "Give quota and period", id="no period"),
        pytest.param({"throttle_rate": "0"}, "greater than or equal to 0.001", id="rate"),
    ],
)
def test_what_is_refused_is_shown_with_the_inputs_kept(staff: Client, gateway: Gateway, changes: dict[str, Any], words: str) -> None:
    adoption = proposed(gateway, plan(1))

    page = staff.post(url_of(adoption, "decide"), inputs(name="Kept name", **changes)).content.decode()

    assert "Confirm the adoption" not in page
    assert words in page
    assert "Kept name" in page
    adoption.refresh_from_db()
    assert adoption.state is AdoptionState.PROPOSED


def test_of_many_usage_plans_the_first_are_decided_about(staff: Client, gateway: Gateway) -> None:
    adoption = proposed(gateway, *[plan(number) for number in range(17)])

    assert "2 more usage plans are left for now" in staff.get(url_of(adoption, "decide")).content.decode()

    fields = {name: value for number in range(17) for name, value in inputs(number, tier=f"old-{number}").items()}
    page = staff.post(url_of(adoption, "decide"), fields).content.decode()
    staff.post(url_of(adoption, "decide"), sent_again(page))
    adoption.refresh_from_db()
    assert len(adoption.decisions["plans"]) == 15


def many(count: int) -> PlanSeen:
    return plan(1, keys=tuple(KeySeen(id=f"k{each}", name=f"shop {each}", enabled=True) for each in range(count)))


def file_of(*lines: str) -> SimpleUploadedFile:
    return SimpleUploadedFile("tenants.csv", "\n".join(["key,tenant", *lines]).encode())


def test_many_new_tenants_are_made_only_when_their_number_is_typed(staff: Client, gateway: Gateway) -> None:
    adoption = proposed(gateway, many(1200))
    page = staff.post(url_of(adoption, "decide"), inputs()).content.decode()
    assert "1,200 new tenants, one a key." in page
    assert 'name="new_tenants"' in page

    for typed, words in (("", "This field is required."), ("50", "This makes 1,200 new tenants. Write 1200 to say so")):
        assert words in staff.post(url_of(adoption, "decide"), sent_again(page, new_tenants=typed)).content.decode()
    adoption.refresh_from_db()
    assert adoption.state is AdoptionState.PROPOSED

    staff.post(url_of(adoption, "decide"), sent_again(page, new_tenants="1,200"))

    adoption.refresh_from_db()
    assert adoption.state is AdoptionState.CONFIRMED
    assert AuditEvent.objects.get(action="adoption.confirmed").data["tenants"] == 1200


def test_a_file_names_the_tenants_of_many_keys(staff: Client, gateway: Gateway) -> None:
    adoption, there = proposed(gateway, many(60)), make_tenant("Acme")
    lines = [f"shop {each},{there.pk}" if each % 2 else f"k{each},Beta" for each in range(60)]

    page = staff.post(url_of(adoption, "decide"), {**inputs(), "tenants": file_of(*lines)}).content.decode()

    assert "1 new tenant." in page
    assert "1 tenant that exists gets keys." in page
    back = staff.post(url_of(adoption, "decide"), sent_again(page, "_back")).content.decode()
    assert "k0, Beta" in back
    assert "errornote" not in back
    staff.post(url_of(adoption, "decide"), sent_again(page))
    adoption.refresh_from_db()
    [decision] = adoption.decisions["plans"]
    assert (decision["holders"]["k0"], decision["holders"]["k1"]) == (["Beta"], [str(there.pk)])


def test_what_a_form_cannot_send_back_is_refused_with_the_command_that_can(staff: Client, gateway: Gateway) -> None:
    adoption = proposed(gateway, many(3))
    names = [f"鈴木商店東京都千代田区丸の内{number}" for number in range(9_000)]
    assert sum(len(f"k0, {name}") for name in names) < LARGEST_LIST  # letters; each is sent as nine bytes

    page = staff.post(url_of(adoption, "decide"), {**inputs(take="pooled"), "tenants": file_of(*(f"k0,{name}" for name in names))})

    assert "It is too large for this page. Use the command" in page.content.decode()


def test_a_file_is_refused_by_line(staff: Client, gateway: Gateway) -> None:
    adoption, there = proposed(gateway, many(3)), make_tenant("Acme")

    page = staff.post(url_of(adoption, "decide"), {**inputs(), "tenants": file_of("k0,A", "k0,B", "k1,C")}).content.decode()
    assert "Line 3: the key k0 has a tenant already" in page

    page = staff.post(url_of(adoption, "decide"), {**inputs(), "tenants": file_of("k9,A", *["Acme,k0"] * 30)}).content.decode()
    assert "Line 2: no usage plan that was found has a key “k9”" in page
    assert "11 more lines have problems." in page

    page = staff.post(url_of(adoption, "decide"), {**inputs(), "tenants": file_of("k0,Acme")}).content.decode()
    assert f"Line 2: a tenant named “Acme” exists. Write its id, {there.pk}" in page

    page = staff.post(url_of(adoption, "decide"), {**inputs(), "tenants": SimpleUploadedFile("x.csv", b"")}).content.decode()
    assert "Line 1: the file is empty. Its first line has to be: key,tenant" in page


def test_hundreds_of_usage_plans_are_a_table_those_with_keys_first(staff: Client, gateway: Gateway) -> None:
    adoption = proposed(gateway, *[plan(number, keys=()) for number in range(300)], plan(300))

    page = staff.get(url_of(adoption)).content.decode()

    assert page.index("<h2>Plan 300</h2>") < page.index("<h2>Plan 0</h2>")
    assert "286 more usage plans, the first 50" in page
    assert page.count("<h2>Plan ") == 15


def test_withdrawn_adoption_cannot_be_decided_about(staff: Client, gateway: Gateway) -> None:
    adoption = proposed(gateway, plan(1))

    assert "Withdrawn" in messages_of(staff.post(url_of(adoption, "withdraw"), follow=True))

    assert "It was withdrawn." in staff.post(url_of(adoption, "decide"), {**inputs(), "_confirm": "1"}).content.decode()


def test_who_may_only_look_decides_nothing(client: Client, gateway: Gateway) -> None:
    clerk = make_user("clerk@example.com", is_staff=True)
    clerk.user_permissions.add(Permission.objects.get(content_type__app_label="keys", codename="view_adoption"))
    client.force_login(clerk)
    adoption = proposed(gateway, plan(1))

    assert client.get(url_of(adoption)).status_code == 200
    assert {client.post(url_of(adoption, page), inputs()).status_code for page in ("decide", "withdraw")} == {403}

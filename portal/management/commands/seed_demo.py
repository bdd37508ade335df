"""What the demo starts with: the gateway, four tiers, and three people."""

import os
from typing import Any

from allauth.account.models import EmailAddress
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from keys.models import Gateway
from portal import demo
from tenants.models import Membership, Role, Tenant, User


class Command(BaseCommand):
    help = "Register the gateway that the environment names, create the tiers, and (with DEMO=1) the demo accounts. Safe to repeat."

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.DEMO:
            raise CommandError("seed_demo makes accounts with a published password; it runs with DEMO=1 only.")
        sandbox = bool(settings.GATEWAY_ENDPOINT_URL)
        account = os.environ.get("GATEWAY_ACCOUNT_ID", "000000000000")
        name = "Sandbox" if sandbox else f"{account} {os.environ.get('GATEWAY_REGION', '')}".strip()
        call_command("register_gateway", propagation=0 if sandbox else 60, name=name, verbosity=0, stdout=self.stdout)
        call_command("seed_tiers", stdout=self.stdout)
        with transaction.atomic():
            tenant = Tenant.objects.filter(memberships__user__email=demo.OWNER_EMAIL).first() or Tenant.objects.create(name="Corner Shop")
            for email, role in ((demo.OWNER_EMAIL, Role.OWNER), (demo.VIEWER_EMAIL, Role.VIEWER)):
                Membership.objects.get_or_create(user=_person(email), tenant=tenant, defaults={"role": role})
            _person(demo.STAFF_EMAIL, is_staff=True, is_superuser=True)
        self.stdout.write(f"Ready: {Gateway.objects.count()} gateway(s), accounts {', '.join(demo.EMAILS)}")


def _person(email: str, **rights: bool) -> User:
    user = User.objects.filter(email=email).first() or User.objects.create_user(email, demo.PASSWORD, **rights)
    EmailAddress.objects.get_or_create(user=user, email=email, defaults={"verified": True, "primary": True})
    return user

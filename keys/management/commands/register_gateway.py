"""``connect_gateway`` without a look at AWS: for a machine that has no way there."""

from keys.management.commands import connect_gateway


class Command(connect_gateway.Command):
    help = "Register a gateway and stages of one REST API without asking AWS; connect_gateway asks first."
    looks = False

"""The demo's accounts. ``make run`` makes them; the system checks refuse a production database that has them."""

OWNER_EMAIL = "owner@demo.example"
VIEWER_EMAIL = "viewer@demo.example"
STAFF_EMAIL = "staff@demo.example"
EMAILS = (OWNER_EMAIL, VIEWER_EMAIL, STAFF_EMAIL)
PASSWORD = "tollgate-demo-1"  # noqa: S105 - printed by `make run`, refused in production

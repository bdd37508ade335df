"""The staff's pages: the admin at ``/staff/``, one noun a file. They read rows and call services; none of them writes."""

from keys.admin import adoption, api_key, gateway, gateway_key, reconcile, tenant, tier, token, webhook

__all__ = ["adoption", "api_key", "gateway", "gateway_key", "reconcile", "tenant", "tier", "token", "webhook"]

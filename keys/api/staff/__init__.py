"""What those who run the portal do over the REST API: what their pages do, with the same permissions, through the same services.

Unlike tenants, staff are told how a tier keeps its tenants apart. Credentials are shown to neither of their interfaces.
"""

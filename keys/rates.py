"""What AWS allows the management API of an account and Region. Facts only; no part of it is adjustable.

Source: developer guide, "API Gateway control plane quotas". The burst of the single operations is not published; one second's worth, at
least one call, is assumed. How many keys an ImportApiKeys takes is not published either.
"""

from collections.abc import Mapping

# Calls a second, and at once.
TOTAL = (10.0, 40.0)
BY_OPERATION: Mapping[str, tuple[float, float]] = {
    "CreateApiKey": (5.0, 5.0),
    "DeleteApiKey": (5.0, 5.0),
    "UpdateUsagePlan": (1 / 20, 1.0),
}
# The largest page of every list (botocore, "The maximum number of returned results per page").
PAGE = 500
# Keys that we send by one ImportApiKeys.
IMPORT = 1000

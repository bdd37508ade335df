"""What a refused call was told."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from botocore.exceptions import ClientError


def refusal(call: Callable[..., object], **arguments: object) -> tuple[int, str, str]:
    """Make the call, which must be refused; return status, code and message."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    response = caught.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"], response["Error"]["Message"]

"""Names of gateway keys at API Gateway: ``tollgate-<gateway>-<batch>-<id of the row>``.

The mark with the gateway's id says that a key is ours, and not that of another Tollgate in the same account: its database knows the
gateway by another id. Keys that are sent together share the batch, so that one look-up by prefix finds them all again.
"""

import uuid

MARK = "tollgate-"
GATEWAY_LENGTH = BATCH_LENGTH = 8


def mark_of(gateway_id: uuid.UUID) -> str:
    """The beginning of the names of all keys that we make on a gateway."""
    return f"{MARK}{gateway_id.hex[:GATEWAY_LENGTH]}-"


def new_batch(gateway_id: uuid.UUID) -> str:
    """The beginning of the names of one batch."""
    return f"{mark_of(gateway_id)}{uuid.uuid4().hex[:BATCH_LENGTH]}-"


def name_in(batch: str, row_id: uuid.UUID) -> str:
    """The name of a row's key in a batch: never given before, as the batch is new."""
    return f"{batch}{row_id.hex}"


def batch_of(name: str) -> str:
    """The batch that a name of ours was given in."""
    return name[: len(MARK) + GATEWAY_LENGTH + 1 + BATCH_LENGTH + 1]

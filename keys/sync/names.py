"""Names of gateway keys at API Gateway: ``tollgate-<batch>-<id of the row>``.

The mark says that a key is ours. Keys that are sent together share the batch, so that one look-up by prefix finds them all again.
"""

import uuid

MARK = "tollgate-"
BATCH_LENGTH = 8


def new_batch() -> str:
    """The beginning of the names of one batch."""
    return f"{MARK}{uuid.uuid4().hex[:BATCH_LENGTH]}-"


def name_in(batch: str, row_id: uuid.UUID) -> str:
    """The name of a row's key in a batch: never given before, as the batch is new."""
    return f"{batch}{row_id.hex}"


def batch_of(name: str) -> str:
    """The batch that a name of ours was given in."""
    return name[: len(MARK) + BATCH_LENGTH + 1]

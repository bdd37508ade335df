"""Names of gateway keys at API Gateway: ``tollgate-<batch>-<uuid>``.

The mark says that a key is ours. Keys that are sent together share the batch, so that one look-up by prefix finds them all again.
"""

import uuid

MARK = "tollgate-"
BATCH_LENGTH = 8


def new_batch() -> str:
    """The beginning of the names of one batch."""
    return f"{MARK}{uuid.uuid4().hex[:BATCH_LENGTH]}-"


def new_name(batch: str) -> str:
    """A name that was never given before."""
    return f"{batch}{uuid.uuid4().hex}"


def batch_of(name: str) -> str:
    """The batch that a name of ours was given in."""
    return name[: len(MARK) + BATCH_LENGTH + 1]

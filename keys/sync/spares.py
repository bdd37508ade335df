"""Keeping as many spares as each siloed tier wants on each gateway: made ahead of demand, ended when there are too many.

Only rows are written here. The keys themselves are made and removed like any others, at the priority of spares.
"""

from keys.models import KeyRole
from keys.rates import IMPORT
from keys.stock import BATCH, add_spares, end_spares
from keys.sync import creates, due
from keys.sync.session import Session


def keep_spares(session: Session) -> bool:
    """Bring the number of spares closer to what is wanted, by one batch a usage plan; whether there was anything to do.

    Rows are written no further ahead of their calls than those take to be full: 10,000 rows take seconds, in which nothing would be sent.
    """
    ahead = IMPORT if session.gateway.uses_imports else creates.AHEAD
    waiting = due.imports(session.gateway.pk, session.now()).filter(role=KeyRole.SPARE)[:ahead].count()
    changed = 0
    for plan in due.spares(session.gateway.pk):
        changed += end_spares(plan) or (add_spares(plan, min(ahead, BATCH)) if waiting < ahead else 0)
    return bool(changed)

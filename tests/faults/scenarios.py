"""What is done while a process is killed: each scenario comes by some of the crash points, and all of them together by every one.

The first step is done undisturbed. The second is done by a process that dies on the way. Then it is done again, undisturbed, as whoever got
no answer would: what cannot be done twice is refused, which is no matter. Workers go on until nothing is left to do.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.faults import scenarios_keys as keys
from tests.faults import scenarios_others as others
from tests.faults import scenarios_tiers as tiers
from tests.faults.world import World

Step = Callable[[World], None]
SCENARIOS: dict[str, tuple[Step, Step]] = {
    "buy": (keys.prepare_buy, keys.buy),
    "buy where imports are refused": (keys.prepare_buy, keys.buy_one_by_one),
    "place in bulk": (keys.prepare_bulk, keys.bulk_place),
    "rotate": (keys.prepare_keys, keys.rotate),
    "revoke": (keys.prepare_keys, keys.revoke),
    "revoke what was never seen": (tiers.nothing, keys.revoke_unseen),
    "revoke many": (keys.prepare_taken_over, keys.revoke_many),
    "find keys later": (tiers.nothing, keys.found_later),
    "disable and enable": (keys.prepare_keys, keys.switch),
    "suspend and resume": (keys.prepare_keys, keys.suspend),
    "tell webhooks": (keys.prepare_told, keys.tell),
    "change tiers": (tiers.nothing, tiers.change_tiers),
    "sell and retire a tier": (tiers.nothing, tiers.sell_tiers),
    "register a gateway": (tiers.nothing, tiers.register),
    "resize a pool": (keys.prepare_keys, tiers.resize_pools),
    "even out a pool": (tiers.prepare_uneven, tiers.even_out),
    "plan tiers": (tiers.nothing, tiers.plan_tiers),
    "move between gateways": (tiers.prepare_two, tiers.move_between),
    "reconcile": (others.prepare_edits, others.reconcile),
    "gateway forgot": (keys.prepare_keys, others.forgotten),
    "gateway forgot unnoticed": (tiers.nothing, others.lose_a_plan),
    "gateway in trouble": (tiers.nothing, others.trouble),
    "read usage": (keys.prepare_keys, others.usage),
    "call canaries": (keys.prepare_keys, others.call_canaries),
    "adopt": (others.prepare_theirs, others.adopt),
    "adopt what changed": (others.prepare_theirs, others.adopt_what_changed),
    "check rights": (tiers.nothing, others.check_rights),
    "revoke without the right": (keys.prepare_own, others.revoke_without_the_right),
}

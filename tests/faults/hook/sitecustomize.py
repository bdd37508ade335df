"""Python imports this at its start in every process of a stack: kills it at the crash point that CRASH_AT names, puts its clock wrong by
CLOCK_OFFSET seconds; nothing without these.

The product knows nothing of it. ``CRASH_AT=<site>|before`` or ``<site>|after``; see ``crash.py`` and ``clocks.py`` in ``tests/faults``.
"""

import os
import sys

if os.environ.get("CRASH_AT") and "granian" not in sys.argv[0]:
    from tests.faults.crash import arm_when_django_is_there

    arm_when_django_is_there(os.environ["CRASH_AT"])

if os.environ.get("CLOCK_OFFSET"):
    from tests.faults.clocks import shift

    shift(float(os.environ["CLOCK_OFFSET"]))

"""What every test shares: how Hypothesis runs.

Nothing heavy is imported here and no fixture is defined: each worker of a parallel
run reads this file first.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# Hypothesis would switch to a profile of its own where CI is set, and draw the same
# examples in every run. Every run, here and there, looks for new ones. Deadlines and
# "too slow" would judge the load of the machine; a hang ends at faulthandler_timeout.
settings.register_profile(
    "ancfuzz",
    deadline=None,
    derandomize=False,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("ancfuzz")

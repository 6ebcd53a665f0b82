"""Tests of teleport-conch; each folder mirrors a room of the package.

Properties are tried on as many examples as fit into a short run; with ``TELEPORT_CONCH_LONG=1`` on twenty times as
many. How long one example takes is the machine's business, not the test's.
"""

import os

from hypothesis import HealthCheck, settings

settings.register_profile("short", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("long", settings.get_profile("short"), max_examples=2_000)
settings.load_profile("long" if os.environ.get("TELEPORT_CONCH_LONG") == "1" else "short")

"""How far properties are tried: the same examples each time in the suite; in the long form more of them, at random.

``SEALDROP_PROPERTIES=20`` tries twenty times as many examples, other ones each time.
"""

import os

from hypothesis import HealthCheck, settings

LONGER = int(os.environ.get("SEALDROP_PROPERTIES", "1"))
IS_LONG = LONGER > 1


def tried(examples: int, *, steps: int = 20) -> settings:
    """Return the settings for a property that is tried with so many examples in the suite."""
    return settings(
        max_examples=examples * LONGER,
        stateful_step_count=steps,
        deadline=None,
        derandomize=not IS_LONG,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )


def register() -> None:
    """Have every property that says nothing of its own follow the same rule."""
    settings.register_profile("sealdrop", tried(100))
    settings.load_profile("sealdrop")

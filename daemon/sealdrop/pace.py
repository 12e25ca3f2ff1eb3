"""Signs of life from whoever copies much: heard by those who look after the thread, if anybody does.

Who that is, is set by whoever runs the thread (`sealdrop.daemon.progress`), so that code below need not be handed it.
"""

import threading
from collections.abc import Callable

_here = threading.local()


def tell(heard: Callable[[], None] | None) -> None:
    """Have ``heard`` called at each step that this thread makes from now on; None: nobody."""
    _here.heard = heard


def step() -> None:
    """Say that this thread goes on."""
    heard: Callable[[], None] | None = getattr(_here, "heard", None)
    if heard is not None:
        heard()

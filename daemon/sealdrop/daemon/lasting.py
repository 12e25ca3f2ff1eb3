"""What there is once for the whole life of the service, whatever configuration it works by."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sealdrop.clock import Clock
from sealdrop.daemon.account import SignCalls
from sealdrop.daemon.beingkept import BeingKept
from sealdrop.daemon.clocktrust import ClockTrust
from sealdrop.daemon.recorder import Recorder
from sealdrop.daemon.throttle import Throttle
from sealdrop.daemon.troubles import Troubles
from sealdrop.daemon.unclaimed import Unclaimed
from sealdrop.daemon.underway import UnderWay
from sealdrop.ledger.store import Ledger
from sealdrop.logs import Log
from sealdrop.metrics.meter import Meter
from sealdrop.spool import Spool


@dataclass(frozen=True, slots=True)
class Lasting:
    """The ledger and what goes with it; shared by the workers of one configuration and of the next.

    ``broken`` is called by a worker that finds that nothing may go on; ``on_record`` says that there are new audit
    records. ``sign_calls`` is, for each account, what is remembered of the sign calls of this process: whether one may
    be repeated must not depend on whether the configuration was read anew meanwhile. So with ``mounts``: on which mount
    each folder has been seen; a share that is away when the configuration is read anew is missed all the same. With
    ``throttles``, one for each account: its limit holds for the calls of both configurations together. With
    ``being_kept``: both may be keeping originals in one folder. And with ``under_way``: what the documents' moves are
    told to.
    """

    node: str
    spool: Spool
    unclaimed: Unclaimed
    ledger: Ledger
    recorder: Recorder
    troubles: Troubles
    clock: Clock
    clock_trust: ClockTrust
    meter: Meter
    rng: random.Random
    log: Log
    broken: Callable[[BaseException], None]
    on_record: Callable[[], None]
    sign_calls: dict[str, SignCalls] = field(default_factory=dict)
    mounts: dict[Path, Path] = field(default_factory=dict)
    throttles: dict[str, Throttle] = field(default_factory=dict)
    being_kept: BeingKept = field(default_factory=BeingKept)
    under_way: UnderWay = field(default_factory=UnderWay)

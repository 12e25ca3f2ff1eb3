"""One inbound worker on its own ledger and spool, without the rest of the service: what it takes stays received."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import unit_config
from running import KeptLog
from sealdrop.audit.chain import link
from sealdrop.clock import SystemClock
from sealdrop.config import Config, load
from sealdrop.daemon.inbound import InboundWorker
from sealdrop.daemon.recorder import Recorder
from sealdrop.daemon.room import Room
from sealdrop.daemon.troubles import Troubles
from sealdrop.daemon.unclaimed import Unclaimed
from sealdrop.daemon.underway import UnderWay
from sealdrop.ledger.store import Ledger, Step
from sealdrop.model import Document, Event
from sealdrop.spool import Spool

# With room for more keys of the service and of the folder.
CONFIG = unit_config.CONFIG.replace("[accounts.main]", "{service}\n[accounts.main]") + "{folder}\n"


@dataclass
class Intake:
    """A worker, and what it took."""

    config: Config
    worker: InboundWorker
    ledger: Ledger
    spool: Spool
    log: KeptLog
    under_way: UnderWay
    taken: list[Document] = field(default_factory=list)

    @property
    def inbound(self) -> Path:
        """The folder that it looks into."""
        return self.config.folders["invoices"].inbound


@contextmanager
def intake(directory: Path, *, folder: str = "", service: str = "") -> Iterator[Intake]:
    """Yield a worker that can be started; it is stopped at the end. ``folder`` and ``service`` are lines of TOML."""
    path = directory / "sealdrop.toml"
    path.write_text(CONFIG.format(folder=folder, service=service))
    config = load(path)
    for place in ("state/spool", "in", "out", "rejected", "failed"):
        (directory / place).mkdir(parents=True, exist_ok=True)
    clock, log, spool = SystemClock(), KeptLog(), Spool(config.service.state_dir / "spool")
    broken: list[BaseException] = []
    where = config.service.state_dir / "ledger.sqlite"
    with Ledger.open(where, link=lambda *parts: link(*parts, node="host"), clock=clock) as ledger:
        taken, under_way = list[Document](), UnderWay()
        recorder = Recorder(ledger, clock, log, on_stored=lambda _: None, on_record=lambda: None)

        def hear(document: Document, event: Event) -> None:
            taken.append(document)
            under_way.recorded(Step(document, document, event))  # or nothing would be taken after the first few

        recorder.listen(hear)
        troubles = Troubles("host", ledger, clock, log)
        room = Room(config.service.state_dir, config.service.min_free_mib, troubles)
        unclaimed = Unclaimed(spool, ledger, log)
        worker = InboundWorker(
            "invoices",
            config,
            "host",
            spool,
            unclaimed,
            ledger,
            recorder,
            troubles,
            room,
            under_way,
            clock,
            log,
            broken.append,
            {},
        )
        try:
            yield Intake(config, worker, ledger, spool, log, under_way, taken)
        finally:
            worker.stop()
            assert worker.join(60)
    assert broken == []

"""sealdrop beside what users write today: a plain loop, at a service that takes its time."""

from dataclasses import dataclass
from pathlib import Path

import bare
from speed import VARIANTS, WARM_UP, Run
from stage import is_ready, moment, pdf, service, stage

from sealdrop.sandbox.sealing import Level

SERVICE_S = 0.3  # that each sign call and each status call takes, whatever it is about; create is answered at once
SIZE_BYTES = 50_000


@dataclass(frozen=True, slots=True)
class Peer:
    """Documents a second of both, and how many connections sealdrop may use."""

    documents: int
    loop_documents: int
    per_s: float
    loop_per_s: float
    connections: int

    @property
    def ratio(self) -> float:
        """Sealdrop's rate over the loop's."""
        return self.per_s / self.loop_per_s


def peer(directory: Path, documents: int, loop_documents: int) -> Peer:
    """Have the loop seal some, and then sealdrop; the loop takes as long for each, so it may be given few."""
    contents = [pdf(SIZE_BYTES, variant) for variant in range(VARIANTS)]
    with stage(directory, contents, service_s=SERVICE_S) as at, service(at) as process:
        loop_s = bare.loop(directory, at.port, contents, loop_documents, Level.LTA.value)
        moment(lambda: is_ready(at, process))
        run = Run(at, process, Level.LTA)
        run.round_s(contents, WARM_UP)
        took_s = run.round_s(contents, documents)
        connections = at.config.accounts["bench"].connections
    return Peer(documents, loop_documents, documents / took_s, loop_documents / loop_s, connections)

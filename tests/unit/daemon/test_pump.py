"""The loop that all workers share."""

import threading
from collections.abc import Sequence

from documents import FakeClock, document
from running import PATIENCE_S, KeptLog
from sealdrop.daemon.pump import Pump
from sealdrop.errors import Retryable
from sealdrop.ledger.store import Claimed
from sealdrop.model import Document


def test_what_could_not_be_recorded_is_given_back_before_anything_else() -> None:
    """Documents whose outcome could not be written down are given back, and only then is more claimed."""
    told: list[str] = []
    done = threading.Event()
    claims = [Claimed((document(),), None), Claimed((), None)]

    def claim() -> Claimed:
        told.append("claim")
        return claims.pop(0) if claims else Claimed((), None)

    def give_up(documents: Sequence[Document]) -> None:
        told.append(f"give up {len(documents)}")

    def work(documents: Sequence[Document]) -> None:
        assert documents
        told.append("work")
        raise Retryable("the disk is full")

    def broken(error: BaseException) -> None:
        raise error

    pump = Pump("p", claim=claim, give_up=give_up, work=work, clock=FakeClock(), log=KeptLog(), on_fatal=broken)
    pump.start()
    while len(told) < 4 and not done.wait(0.01):
        pump.wake()
    pump.stop()
    assert pump.join(PATIENCE_S)
    assert told[:4] == ["claim", "work", "give up 1", "claim"]

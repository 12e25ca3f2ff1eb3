"""What is done for an account: which worker takes which documents, how many at a time, and what it needs to do so."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from sealdrop.config import Account
from sealdrop.daemon.account import CALLS_EACH, AccountWorker
from sealdrop.daemon.line import Operation, longest_wait_s, pollers
from sealdrop.model import Document, State

CLAIM = 16  # documents at most that a worker takes at a time and works on one by one
CALLED_SLOWLY = 4  # of them have a lease's time if each call takes as long as it may
LEASE_SLACK_S = 60.0


@dataclass(frozen=True, slots=True)
class Duty:
    """The work of one thread; ``needs`` are the operations without which it claims nothing, ``limit`` says how much."""

    name: str
    work: Callable[[Sequence[Document]], None]
    states: tuple[State, ...]
    needs: tuple[Operation, ...]
    limit: Callable[[], int]


def duties(worker: AccountWorker, account: Account) -> list[Duty]:
    """Return everything that is to be done for an account, one entry for each thread.

    Whoever reconciles may have to send as well: while nothing can be created, nobody is asked about what would only
    be sent anew. That includes the few whose creation was applied unseen; they wait for the next try with the others.
    """
    line = worker.line
    name, batch = line.name, account.batch_documents
    asking, creating, signing = (Operation.STATUS,), (Operation.CREATE,), (Operation.SIGN,)
    polled, reconciling = (State.SEALING, State.ARCHIVING), asking + creating
    poll_limit = partial(line.share_in_turn, CLAIM, *asking)
    return [
        Duty(f"submit {name}", worker.submit, (State.VALIDATED,), creating, partial(line.share, batch, *creating)),
        Duty(
            f"reconcile {name}",
            worker.reconcile,
            (State.SUBMITTING,),
            reconciling,
            partial(line.share_in_turn, CLAIM, *reconciling),
        ),
        Duty(f"sign {name}", worker.sign, (State.SUBMITTED,), signing, partial(line.share, batch, *signing)),
        *(Duty(f"poll {name} {number}", worker.poll, polled, asking, poll_limit) for number in range(pollers(account))),
    ]


def lease_s(account: Account) -> float:
    """Return how long a claim holds: longer than its calls can last.

    It outlasts what a worker honestly needs for one document, and mostly for all of a claim; a worker that sees the
    end of a lease come gives the document back instead.
    """
    return (longest_wait_s(account) + account.call_timeout_s) * CALLS_EACH * CALLED_SLOWLY + LEASE_SLACK_S

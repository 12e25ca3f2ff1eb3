"""What is done for an account: which worker takes which documents, how many at a time, and what it needs to do so."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sealdrop.config import Account
from sealdrop.daemon.account import CALLS_EACH, AccountWorker
from sealdrop.daemon.line import Operation
from sealdrop.model import Document, State

POLLERS = 2  # threads that poll one account
CLAIM = 4  # documents that a worker takes at a time and works on one by one
LEASE_SLACK_S = 60.0


@dataclass(frozen=True, slots=True)
class Duty:
    """The work of one thread; ``needs`` are the operations without which nothing is claimed."""

    name: str
    work: Callable[[Sequence[Document]], None]
    states: tuple[State, ...]
    needs: tuple[Operation, ...]
    limit: int


def duties(worker: AccountWorker, account: Account) -> list[Duty]:
    """Return everything that is to be done for an account, one entry for each thread.

    Whoever reconciles may have to send as well: while nothing can be created, nobody is asked about what would only
    be sent anew. That includes the few whose creation was applied unseen; they wait for the next try with the others.
    """
    name, batch = worker.line.name, account.batch_documents
    asking, creating, signing = (Operation.STATUS,), (Operation.CREATE,), (Operation.SIGN,)
    polled = (State.SEALING, State.ARCHIVING)
    return [
        Duty(f"submit {name}", worker.submit, (State.VALIDATED,), creating, batch),
        Duty(f"reconcile {name}", worker.reconcile, (State.SUBMITTING,), asking + creating, CLAIM),
        Duty(f"sign {name}", worker.sign, (State.SUBMITTED,), signing, batch),
        *(Duty(f"poll {name} {number}", worker.poll, polled, asking, CLAIM) for number in range(POLLERS)),
    ]


def lease_s(account: Account) -> float:
    """Return how long a claim holds: longer than its calls can last.

    It outlasts what a worker honestly needs for one document, and mostly for all of a claim; a worker that sees the
    end of a lease come gives the document back instead.
    """
    return account.call_timeout_s * CALLS_EACH * CLAIM + LEASE_SLACK_S

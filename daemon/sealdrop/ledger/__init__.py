"""What is known of every document: the ledger, which is the queue too. The only home of SQLAlchemy.

`store` is what the daemon writes with, `recording` how a step and its audit record become one, `reading` what any
command may look with, `schema` the tables, `database` the transactions and the errors. The audit trail is not
imported here: whoever opens the ledger hands it the function that links a record to the chain.
"""

from sealdrop.ledger.reading import LedgerReader
from sealdrop.ledger.recording import Link, Ration, Step
from sealdrop.ledger.store import Claimed, Ledger

__all__ = ["Claimed", "Ledger", "LedgerReader", "Link", "Ration", "Step"]

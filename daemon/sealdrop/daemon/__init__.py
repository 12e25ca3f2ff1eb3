"""The service: composes the stages, owns the threads, and is the only writer of ledger and audit trail.

``service`` composes, ``pump`` is the loop that all workers share, ``inbound`` takes files over, ``account`` speaks to
SignAPI, ``stages`` does what happens on this machine, ``recorder`` writes down what became of it all.
"""

from sealdrop.daemon.service import Daemon

__all__ = ["Daemon"]

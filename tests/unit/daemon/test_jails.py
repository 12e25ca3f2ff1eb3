"""`sealdrop.daemon.jails`: who shares a child with whom."""

import os

from sealdrop.daemon.jails import Jails, TwoLimits


def test_a_suspect_shares_its_child_with_nobody() -> None:
    """Documents are examined by a child that stays warm; each suspect is examined by a child of its own."""
    with Jails(1, TwoLimits(), readable=[], anchors=[]) as jails:
        for choose in (jails.for_validating, jails.for_verifying):
            assert len({choose(suspects=False).run(os.getpid) for _ in range(2)}) == 1
            assert len({choose(suspects=True).run(os.getpid) for _ in range(2)}) == 2

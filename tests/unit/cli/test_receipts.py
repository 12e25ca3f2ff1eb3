"""What a sealed PDF is held against at the command line."""

from dataclasses import replace

import pytest

from documents import verified
from sealdrop.cli.receipts import Against
from sealdrop.model import Check, CheckName, CheckOutcome, SealPlace, Stamp
from sealdrop.pdf.appearance import Looks
from sealdrop.receipt import Receipt, receipt_for

PLACE = SealPlace(1, 20, 30, 120, 70)


def _receipt(stamp: Stamp | None, outcome: CheckOutcome | None) -> Receipt:
    """Return the receipt of a document whose appearance was judged like this, or not at all."""
    found = verified().verification
    assert found is not None
    others = tuple(check for check in found.checks if check.name is not CheckName.APPEARANCE)
    checks = others if outcome is None else (*others, Check(CheckName.APPEARANCE, outcome, ""))
    return receipt_for(verified(stamp=stamp, verification=replace(found, checks=checks)), "invoice.pdf")


@pytest.mark.parametrize(
    ("stamp", "outcome", "looks"),
    [
        (Stamp(PLACE, 20, 30, None, 100, 40), CheckOutcome.PASSED, Looks(PLACE)),
        (Stamp(PLACE, 20, 30, None, 100, 40), CheckOutcome.WARNED, Looks(PLACE)),
        (None, CheckOutcome.PASSED, Looks(None)),
        (None, CheckOutcome.NOT_ASKED, None),
        (None, None, None),
    ],
)
def test_a_seal_may_look_as_it_does_where_nobody_wrote_down_how(
    stamp: Stamp | None, outcome: CheckOutcome | None, looks: Looks | None
) -> None:
    """A receipt of version 2, or of a document that was sealed before version 3, does not say that none is seen."""
    assert Against((), None, None).expectation(_receipt(stamp, outcome)).looks == looks

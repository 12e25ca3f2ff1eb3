"""A process that has judged one seal judges the next as one that has judged none.

What is kept between documents (parsed certificates, lists and responses, compared names, signatures found right, chains
and until when they hold) must be a function of its bytes alone. So each seal here comes after a good one that shares
all with it but what is wrong.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import crl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyhanko.pdf_utils.reader import PdfFileReader

import seals
from seal_pdfs import make_pdf
from seal_pki import DAY, SEALED_AT, Pki, make_pki, swap_roles
from sealdrop.model import CheckName, SealLevel, Verification
from sealdrop.pdf import certificate, evidence, names
from sealdrop.pdf.seal import Expectation, verify_seal
from seals import expect, seal

DATA = Path(__file__).parents[2] / "data" / "seals"
PDF = make_pdf()
LT, LTA = SealLevel.LT, SealLevel.LTA
GOOD = make_pki()
REVOKED = make_pki(revoked_at=SEALED_AT - DAY / 2)


def _forget() -> None:
    """Leave nothing of earlier documents, as in a child that has just begun."""
    for remembered in (certificate.parse, evidence._parse_ocsp, evidence._parse_crl):
        remembered.cache_clear()
    names._remembered_same.cache_clear()
    names._remembered_hashable.cache_clear()
    evidence._SIGNATURES._right.clear()
    evidence._CHAINS.forget()


def _with_lists(pki: Pki, *lists: crl.CertificateList) -> bytes:
    """Return a seal whose evidence are the revocation lists of ``pki``, or ``lists``: all have the same keys."""
    return seals.add_evidence(seal(PDF, SealLevel.T, pki=pki), pki, lists or pki.crls)


def _with_list_changed(at: int) -> bytes:
    """Return a seal in whose evidence one byte of the list by the issuing authority is another."""
    der = bytearray(GOOD.crls[1].dump())
    der[at] ^= 1
    return _with_lists(GOOD, GOOD.crls[0], crl.CertificateList.load(bytes(der)))


@dataclass(frozen=True)
class Next:
    """A seal that comes after a good one, and the check that it has to fail; None if it is as good."""

    name: str
    failure: CheckName | None
    make: Callable[[], bytes]
    expected: dict[str, Any] = field(default_factory=dict)
    anchor: Callable[[], Pki] = make_pki


MADE_AT = GOOD.crls[1].dump().index(b"260301") + 5
NEXT = [
    Next("the-same", None, lambda: _with_lists(GOOD)),
    Next(
        "another-anchor", CheckName.TRUSTED_CHAIN, lambda: _with_lists(GOOD), anchor=lambda: make_pki("Somebody Else")
    ),
    Next("years-later", CheckName.TRUSTED_CHAIN, lambda: _with_lists(GOOD), {"now": SEALED_AT + 9500 * DAY}),
    Next("before-it-was-valid", CheckName.TRUSTED_CHAIN, lambda: _with_lists(GOOD), {"now": SEALED_AT - 200 * DAY}),
    Next("revoked", CheckName.TRUSTED_CHAIN, lambda: _with_lists(REVOKED), anchor=lambda: REVOKED),
    Next("list-with-another-signature", CheckName.TRUSTED_CHAIN, lambda: _with_list_changed(-1)),
    Next("list-of-another-day", CheckName.TRUSTED_CHAIN, lambda: _with_list_changed(MADE_AT)),
    Next("list-that-had-run-out", CheckName.LEVEL, lambda: _with_lists(make_pki(crl_lifetime_days=0))),
    Next("without-lists", CheckName.LEVEL, lambda: seal(PDF, SealLevel.T)),
    Next(
        "by-the-timestamp-authority",
        CheckName.TRUSTED_CHAIN,
        lambda: seals.add_evidence(seal(PDF, SealLevel.T, pki=swap_roles(GOOD)), GOOD, GOOD.crls),
    ),
    Next("by-an-expired-certificate", CheckName.TRUSTED_CHAIN, lambda: _with_lists(make_pki(seal_days=(-9, -1)))),
]


@pytest.mark.parametrize("after", NEXT, ids=lambda after: after.name)
def test_a_seal_after_a_good_one(tmp_path: Path, after: Next) -> None:
    """It fails as it does when nothing came before, and the good one passes again after it."""
    sealed, good, anchor = tmp_path / "sealed.pdf", tmp_path / "good.pdf", tmp_path / "anchor.pem"
    other = tmp_path / "other.pem"
    anchor.write_bytes(GOOD.root.pem)
    other.write_bytes(after.anchor().root.pem)
    good.write_bytes(_with_lists(GOOD))
    sealed.write_bytes(after.make())
    expected = expect(PDF, other, level=LT, **after.expected)
    _forget()
    cold = verify_seal(sealed, expected)
    assert (cold.first_failure.name if cold.first_failure else None) == after.failure
    _compare(good, expect(PDF, anchor, level=LT), sealed, expected, cold)


@pytest.mark.parametrize("kind", ["/OCSPs", "/Certs"])
def test_evidence_of_other_software_that_differs_in_a_byte(tmp_path: Path, kind: str) -> None:
    """After the good seal, one with another byte in one of its responses or certificates is judged anew."""
    good, sealed = tmp_path / "good.pdf", tmp_path / "sealed.pdf"
    content = (DATA / "pdfbox-ec-ocsp.pdf").read_bytes()
    good.write_bytes(content)
    stream = PdfFileReader(BytesIO(content)).root["/DSS"][kind][0].get_object()
    sealed.write_bytes(seals.flip(content, content.index(stream.encoded_data) + len(stream.encoded_data) // 2))
    expected = expect(content[:984], DATA / "issuing.pem", level=LTA)
    _forget()
    cold = verify_seal(sealed, expected)
    assert cold.first_failure is not None
    _compare(good, expected, sealed, expected, cold)


def _compare(good: Path, at_first: Expectation, sealed: Path, expected: Expectation, cold: Verification) -> None:
    """Judge the good one, the other and the good one again: nothing of one is found in the report of the other."""
    _forget()
    first = verify_seal(good, at_first)
    assert first.first_failure is None
    assert verify_seal(sealed, expected) == cold
    assert verify_seal(good, at_first) == first
    assert verify_seal(sealed, expected) == cold


def _limits(pki: Pki) -> list[datetime]:
    """Return the times that the evidence names, at which a judgement may become another."""
    certificates = [each.asn1 for each in (pki.root, pki.issuing, pki.seal, pki.tsa)]
    times = [time for each in certificates for time in (each.not_valid_before, each.not_valid_after)]
    for each in pki.crls:
        listed = each["tbs_cert_list"]
        times += [listed["this_update"].native, listed["next_update"].native]
        times += [entry["revocation_date"].native for entry in listed["revoked_certificates"] or ()]
    return sorted(set(times))


@given(
    level=st.sampled_from([SealLevel.B, SealLevel.T]),
    pki=st.sampled_from([GOOD, REVOKED]),
    places=st.lists(
        st.tuples(st.integers(0, 99), st.integers(-2, 2) | st.integers(-(10**7), 10**7)), min_size=2, max_size=4
    ),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_moments_in_any_order(tmp_path: Path, level: SealLevel, pki: Pki, places: list[tuple[int, int]]) -> None:
    """A seal is judged at each moment as if it had never been judged at another, be it a second from a limit."""
    sealed, anchor = tmp_path / "sealed.pdf", tmp_path / "anchor.pem"
    sealed.write_bytes(seals.add_evidence(seal(PDF, level, pki=pki), pki, pki.crls))
    anchor.write_bytes(pki.root.pem)
    limits = _limits(pki)
    moments = [limits[number % len(limits)] + timedelta(seconds=seconds) for number, seconds in places]
    expected = [expect(PDF, anchor, level=level, now=moment) for moment in moments]
    _forget()
    warm = [verify_seal(sealed, each) for each in (*expected, *expected)]
    for each, *found in zip(expected, warm[: len(expected)], warm[len(expected) :], strict=True):
        _forget()
        assert found == [verify_seal(sealed, each)] * 2

"""Whom a seal's certificates and timestamps lead back to, and how long that can be shown without asking anyone.

Each proof is judged at the time that the next one proves, from the end backwards:

1. the last document timestamp now,
2. each earlier one, and the signature's timestamp, at the time that the next document timestamp gives,
3. the seal's certificate at the time of the signature's timestamp; without one, at the earliest time proven, else now.

So a certificate that has expired since does no harm, and one that had expired before does. The network is never
asked: revocation is judged by what the PDF holds, whatever date those lists bear as long as they had not run out by
the time in question. A list that says "revoked" always counts; that there is one for every certificate is asked for
by the levels LT and LTA.

Why not pyHanko's own procedure for LTA (ETSI EN 319 102-1, 5.6.3): it reads the system's clock, it wants revocation
lists younger than the last timestamp, which no PDF can hold, and it takes 50 ms. The judgements on each signature,
token, path and list are pyHanko's; its functions for a whole signature or token would verify it anew for each list.

What is kept between documents depends on bytes alone: certificates, lists and responses as they were parsed, which
signatures on them were right (see `crypto`), and which chains hold, from when until when (see `moments`). A chain is
the same only with the same certificates, the same store to the last byte, the same anchors and the same question. So
nothing is judged twice where authorities publish lists, and all of it where each document brings responses of its own.

How far up that evidence has to reach, the trust anchors say. A sealing service embeds it up to what it trusts itself,
which by the European trusted lists is the authority that issued the seal, not the root above it.
"""

# mypy: disable-error-code="no-untyped-call, import-untyped"
# pyHanko says that it is typed, and leaves many of its functions without types; asn1crypto has none.

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import cast

from asn1crypto import cms, crl, ocsp, x509
from pyhanko.sign.ades.report import AdESIndeterminate
from pyhanko.sign.general import extract_signer_info
from pyhanko.sign.validation.generic_cms import (
    extract_tst_data_iter,
    get_signing_cert_attr,
    message_imprint_checker,
    validate_cert_usage,
)
from pyhanko.sign.validation.pdf_embedded import EmbeddedPdfSignature
from pyhanko.sign.validation.settings import KeyUsageConstraints
from pyhanko.sign.validation.status import TimestampSignatureStatus
from pyhanko_certvalidator import ValidationContext
from pyhanko_certvalidator.authority import AuthorityWithCert, TrustAnchor
from pyhanko_certvalidator.context import CertValidationPolicySpec, bootstrap_validation_data_handlers
from pyhanko_certvalidator.ltv.types import ValidationTimingInfo
from pyhanko_certvalidator.policy_decl import (
    REQUIRE_REVINFO,
    CertRevTrustPolicy,
    FreshnessReqType,
    RevocationCheckingPolicy,
)
from pyhanko_certvalidator.registry import SimpleTrustManager
from pyhanko_certvalidator.revinfo.archival import CRLContainer, OCSPContainer

import sealdrop.pdf.names  # noqa: F401 - path building compares names
from sealdrop.model import SealLevel, Timestamp
from sealdrop.pdf.certificate import parse
from sealdrop.pdf.crypto import ALGORITHMS, RememberingValidator, digest_of, is_strong
from sealdrop.pdf.jobs import shortened
from sealdrop.pdf.moments import Favourable, Moment, Span
from sealdrop.pdf.reader import NOT_THE_DOCUMENT, Reader, Unsound, entry, kind_of
from sealdrop.pdf.signatures import Signer, check_integrity, signer_of, token_info
from sealdrop.pdf.store import Store, read_store

# How far two honest clocks may be apart: ours, the service's and the timestamp authority's.
CLOCK_SKEW = timedelta(minutes=10)

PADES_SUBFILTER = "/ETSI.CAdES.detached"

# A seal's certificate may be made for non-repudiation (ETSI EN 319 412-3) or, as French server seals are under the
# RGS, for digital signature only.
_SEAL_USAGE = KeyUsageConstraints(key_usage={"non_repudiation", "digital_signature"})
_STAMP_USAGE = TimestampSignatureStatus.default_usage_constraints()

# A list made after the moment in question knows of everything before it.
_COMPLETE = CertRevTrustPolicy(REQUIRE_REVINFO, retroactive_revinfo=True)
# A list that has run out still knows what was revoked when it was made.
_IF_THERE = CertRevTrustPolicy(
    RevocationCheckingPolicy.from_legacy("soft-fail"),
    freshness=timedelta(days=100 * 365),
    freshness_req_type=FreshnessReqType.MAX_DIFF_REVOCATION_VALIDATION,
)


_SIGNATURES = RememberingValidator()
_CHAINS = Favourable()


@dataclass(frozen=True, slots=True)
class Evidence:
    """What stands behind a seal.

    ``chain_problem`` is None if the seal's certificate leads to an anchor at ``judged_at``. ``level`` is the highest
    level whose conditions all hold, None if not even B; ``missing`` says what the next level lacks. ``stamped_at`` is
    the time of the signature's timestamp, if it can be trusted.
    """

    chain_problem: str | None
    judged_at: datetime
    revocation_shown: bool
    level: SealLevel | None
    missing: str
    stamped_at: datetime | None
    timestamps: tuple[Timestamp, ...]


def weigh(
    reader: Reader,
    seal: EmbeddedPdfSignature,
    signer: Signer,
    stamps: Sequence[EmbeddedPdfSignature],
    anchors: Sequence[x509.Certificate],
    now: datetime,
) -> Evidence:
    """Return what stands behind ``seal`` of ``signer``, whose integrity was checked, at the time ``now``.

    ``stamps`` are the document timestamps after it that cover their revisions. Without ``anchors`` nobody is
    trusted: the level then says what is there, and the chain is a problem.

    Raises:
        Exception: pyHanko cannot read the document security store, and says so with whatever class it likes.
    """
    weighing = _weigh(reader, seal, signer, stamps, anchors, now)
    try:
        # No event loop: nobody is asked, so there is nothing to wait for, and a loop needs sockets: a jail has none.
        weighing.send(None)
    except StopIteration as done:
        return cast(Evidence, done.value)
    finally:
        weighing.close()
    raise AssertionError("pyHanko waits for something, though it has nobody to ask")


async def _weigh(
    reader: Reader,
    seal: EmbeddedPdfSignature,
    signer: Signer,
    stamps: Sequence[EmbeddedPdfSignature],
    anchors: Sequence[x509.Certificate],
    now: datetime,
) -> Evidence:
    judge = _Judge(anchors, read_store(reader))
    proven, trusted, timestamps, doubts = now, list[EmbeddedPdfSignature](), list[Timestamp](), list[str]()
    for stamp in sorted(stamps, key=lambda stamp: stamp.signed_revision, reverse=True):
        token = _read_token(stamp.signed_data, stamp.compute_digest, "document")
        found = await judge.token(token, proven)
        if isinstance(found, Timestamp):
            trusted.append(stamp)
            timestamps.insert(0, found)
            proven = min(proven, found.at)
        else:
            doubts.append(f"the document timestamp {found}")

    # What stands under a document timestamp shows LTA; what came later shows the same, for LT.
    last = reader.xrefs.total_revisions - 1
    stores = [
        (judge.store if at == last else read_store(reader.get_historical_resolver(at)), SealLevel.LTA)
        for at in (stamp.signed_revision for stamp in trusted)
    ]
    stores.append((judge.store, SealLevel.LT))

    usable, stamped_at, shown_by = None, None, None
    for candidate in extract_tst_data_iter(seal.signer_info, signed=False):
        token = _read_token(candidate, message_imprint_checker(seal.signer_info), "signature")
        found = await judge.token(token, proven, stores[0][0])
        shown_by = stores[0][0] if isinstance(found, Timestamp) else None
        if shown_by is None:
            found = await judge.token(token, proven)
        if isinstance(found, Timestamp):
            usable, stamped_at = token, found.at
            timestamps.insert(0, found)
            break
        doubts.append(f"the signature's timestamp {found}")

    judged_at = stamped_at or proven
    seal_made = _Made(seal.signed_data, signer, _SEAL_USAGE)
    level, missing = _level_without_store(seal, stamped_at)
    problem, shown = None, False
    for store, reached in stores if usable is not None else ():
        missing = await judge.lacks(store, seal_made, judged_at, None if store is shown_by else usable)
        if not missing:
            shown = True
            level = level and reached
            missing = "" if reached == SealLevel.LTA else "there is no trusted document timestamp over the evidence"
            break
    if not (shown and anchors):
        problem = await judge.seal(seal_made, judged_at)
    return Evidence(
        chain_problem=problem,
        judged_at=judged_at,
        revocation_shown=shown,
        level=level,
        missing="; ".join(filter(None, [missing, *doubts])),
        stamped_at=stamped_at,
        timestamps=tuple(timestamps),
    )


def _level_without_store(seal: EmbeddedPdfSignature, stamped_at: datetime | None) -> tuple[SealLevel | None, str]:
    """Return B, T or nothing, and what the next level lacks (ETSI EN 319 142-1, 6.3)."""
    if str(entry(seal.sig_object, "/SubFilter")) != PADES_SUBFILTER:
        return None, "the signature is not of the PAdES kind (ETSI.CAdES.detached)"
    if get_signing_cert_attr(seal.signer_info["signed_attrs"]) is None:
        return None, "the signature does not bind its certificate (signing-certificate attribute)"
    if stamped_at is None:
        return SealLevel.B, "there is no trusted timestamp on the signature"
    return SealLevel.T, ""


@dataclass(frozen=True, slots=True)
class _Made:
    """A signature whose integrity was checked: who made it, and what that certificate must be for."""

    signed_data: cms.SignedData
    signer: Signer
    usage: KeyUsageConstraints


@dataclass(frozen=True, slots=True)
class _Token:
    """A timestamp token whose integrity was checked, and what it says."""

    made: _Made
    found: Timestamp


def _read_token(signed_data: cms.SignedData, imprint: Callable[[str], bytes], kind: str) -> _Token | str:
    """Return the token, which is one of the bytes whose digest ``imprint`` returns, or why it cannot be used."""
    try:
        info, signer = token_info(signed_data), signer_of(signed_data)
        check_integrity(signed_data, signer, imprint)
        found = Timestamp(kind, info["gen_time"].native, shortened(signer.certificate.subject.human_friendly))
        return _Token(_Made(signed_data, signer, _STAMP_USAGE), found)
    except NOT_THE_DOCUMENT:
        raise
    except Unsound:
        return "is damaged"
    except Exception as error:  # noqa: BLE001 - pyHanko may raise anything
        return f"cannot be read ({kind_of(error)})"


class _Anchor(AuthorityWithCert):
    """A certificate that is trusted as it is, though another authority issued it: what a trusted list names is so.

    To find out who issued a revocation list, pyHanko asks who issued the issuer, which only a root answers.
    """

    def is_potential_issuer_of(self, cert: x509.Certificate) -> bool:
        return cert.sha256 == self.certificate.sha256 or bool(super().is_potential_issuer_of(cert))


class _Judge:
    """pyHanko's judgements, all from the same anchors and from the evidence in one PDF."""

    def __init__(self, anchors: Sequence[x509.Certificate], store: Store) -> None:
        self.store = store
        self._anchored = bool(anchors)
        self._anchors_digest = digest_of(*(anchor.sha256 for anchor in anchors))
        self._trust = SimpleTrustManager.build(trust_roots=[TrustAnchor(_Anchor(anchor)) for anchor in anchors])

    def _context(self, moment: datetime, store: Store, revocation: CertRevTrustPolicy) -> ValidationContext:
        policy = CertValidationPolicySpec(
            trust_manager=self._trust,
            revinfo_policy=revocation,
            signature_validator=_SIGNATURES,
            algorithm_usage_policy=ALGORITHMS,
        )
        # New ones for each judgement: pyHanko remembers in them who issued a list, and then lets a list of an
        # authority's own answer for that authority.
        handlers = bootstrap_validation_data_handlers(
            fetchers=None,
            crls=[_parse_crl(der) for der in store.crls],
            ocsps=[response for der in store.ocsps for response in _parse_ocsp(der)],
            certs=[parse(der) for der in store.certificates],
        )
        timing = ValidationTimingInfo(moment, moment, point_in_time_validation=True)
        return policy.build_validation_context(timing, handlers)

    async def _problem(self, made: _Made, moment: datetime, store: Store, revocation: CertRevTrustPolicy) -> str | None:
        """Return why nobody vouches for who made the signature, by the evidence in ``store`` at ``moment``, or None."""
        certificate, others = made.signer.certificate, made.signer.others
        if not is_strong(extract_signer_info(made.signed_data), certificate):
            return str(AdESIndeterminate.CRYPTO_CONSTRAINTS_FAILURE.standard_name)
        given = digest_of(self._anchors_digest, store.digest, *(each.sha256 for each in (certificate, *others)))
        judgement = given, made.usage is _STAMP_USAGE, revocation is _COMPLETE
        if _CHAINS.holds(judgement, moment):
            return None
        span = Span()
        context = self._context(Moment(moment, span), store, revocation)
        context.certificate_registry.register_multiple(others)
        paths = context.path_builder.async_build_paths_lazy(certificate)
        found = await validate_cert_usage(certificate, context, made.usage, paths)
        if found.error_subindic is not None:
            return str(found.error_subindic.standard_name)
        _CHAINS.remember(judgement, span)
        return None

    async def token(self, token: "_Token | str", moment: datetime, complete: Store | None = None) -> Timestamp | str:
        """Return the timestamp, or why it cannot be trusted at ``moment``.

        With ``complete`` all evidence has to come from there, and to say of each certificate that it is not revoked.
        """
        if isinstance(token, str):
            return token
        if complete is not None and not complete.shows_revocation:
            return "comes without revocation data"
        problem, revocation = None, _IF_THERE if complete is None else _COMPLETE
        try:
            if self._anchored:
                problem = await self._problem(token.made, moment, complete or self.store, revocation)
        except NOT_THE_DOCUMENT:
            raise
        except Exception as error:  # noqa: BLE001 - pyHanko may raise anything
            return f"cannot be read ({kind_of(error)})"
        if problem is not None:
            return f"cannot be trusted ({problem})"
        if token.found.at > moment + CLOCK_SKEW:
            return f"is of a later time ({token.found.at.isoformat()}) than is possible"
        return token.found

    async def seal(self, seal: "_Made", moment: datetime) -> str | None:
        """Return why the seal's certificate is not trusted at ``moment``, or None."""
        try:
            return await self._problem(seal, moment, self.store, _IF_THERE)
        except NOT_THE_DOCUMENT:
            raise
        except Exception as error:  # noqa: BLE001 - pyHanko may raise anything
            return kind_of(error)

    async def lacks(self, store: Store, seal: "_Made", moment: datetime, token: "_Token | str | None") -> str:
        """Return what ``store`` lacks to show that the seal, and ``token`` too, were not revoked; "" if nothing.

        All evidence has to come from there: nothing that the PDF got later counts.
        """
        if not store.shows_revocation:
            return "there is no revocation data in the PDF"
        if not self._anchored:
            return ""
        try:
            problem = await self._problem(seal, moment, store, _COMPLETE)
        except NOT_THE_DOCUMENT:
            raise
        except Exception as error:  # noqa: BLE001 - pyHanko may raise anything
            return f"the revocation data cannot be read ({kind_of(error)})"
        if problem is not None:
            return f"the revocation data does not suffice for the seal ({problem})"
        if token is not None:
            found = await self.token(token, moment, store)
            if not isinstance(found, Timestamp):
                return f"the revocation data does not suffice for the timestamp: it {found}"
        return ""


# The same lists and responses may come with document after document: what they say is a function of their bytes.
@lru_cache(maxsize=32)
def _parse_ocsp(der: bytes) -> tuple[OCSPContainer, ...]:
    return tuple(OCSPContainer.load_multi(ocsp.OCSPResponse.load(der)))


@lru_cache(maxsize=8)
def _parse_crl(der: bytes) -> CRLContainer:
    return CRLContainer(crl.CertificateList.load(der))

"""A look at the service from outside: whom we meet there, whether it knows us, whether we understand each other.

Nothing is changed there. One handshake tells about the server; then one status query for a request that cannot exist
tells whether our certificate is accepted, what time it is there, and whether the answer to an unknown request is
understood, on which "never sealed twice" rests (policy.py, [1]). Each of the two has a deadline.
"""

import re
import secrets
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Protocol, cast

import httpcore
import httpx
from cryptography import x509
from cryptography.x509.oid import NameOID

from sealdrop.clock import Clock
from sealdrop.config import Account
from sealdrop.errors import AccountRefused, MalformedAnswer, SealdropError
from sealdrop.signapi import policy, tls
from sealdrop.signapi.deadline import DeadlineBackend, call_within
from sealdrop.signapi.policy import Call, Operation
from sealdrop.signapi.transport import Transport
from sealdrop.signapi.wire import clean

LIMIT_S = 15.0  # for the handshake, and again for the query
_ANSWER_BYTES = 1 << 20
_HTTPS_PORT = 443
# With these, the service says something about the request or its address, in words that are not understood.
_ABOUT_THE_REQUEST = frozenset({*range(200, 300), 400, 404, 405, 410, 422})


class Step(Enum):
    """How far a probe came: the step that failed, or that all is well."""

    NAME = "name"
    CONNECTION = "connection"
    HANDSHAKE = "handshake"
    ACCEPTANCE = "acceptance"
    ANSWER = "answer"
    SERVICE = "service"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """What a certificate says of itself; times are aware."""

    subject: str
    issuer: str
    not_before: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True)
class Probe:
    """What was found at a service. ``failed`` is where it ended, `Step.DONE` at the end; ``text`` says how.

    ``server`` is the certificate it showed, or the one of its chain that runs out first. ``ahead`` is how far our clock
    is ahead of the service's, to about a second; both are None if it did not come to that.
    """

    failed: Step
    text: str
    tls_version: str | None = None
    server: CertificateFacts | None = None
    ahead: timedelta | None = None


def our_certificate(account: Account) -> CertificateFacts:
    """Return what the certificate says that we show to the service, valid or not.

    Raises:
        ConfigurationError: a file is missing or unusable. The message names the file and the fault, never a secret.
    """
    return _facts(tls.our_certificate(account))


def probe(account: Account, clock: Clock) -> Probe:
    """Return what is found at the account's service.

    Raises:
        ConfigurationError: the account's address, certificate, key or authorities cannot be used.
    """
    quick = account.model_copy(update={"call_timeout_s": LIMIT_S})
    met = _meet(quick, clock)
    if isinstance(met, Probe):
        return met
    version, server = met
    return _ask(quick, clock, version, server)


def _meet(account: Account, clock: Clock) -> Probe | tuple[str, CertificateFacts]:
    """Shake hands, and return what is known of the server then, or where it ended."""
    context = tls.client_context(account, now=clock.now())
    address = httpx.URL(account.base_url)
    host, port = address.raw_host.decode("ascii").strip("[]"), address.port or _HTTPS_PORT
    step = Step.CONNECTION
    with call_within(account.call_timeout_s, clock) as progress:
        try:
            stream = DeadlineBackend().connect_tcp(host, port, account.connect_timeout_s)
            step = Step.HANDSHAKE
            try:
                secured = stream.start_tls(context, host, account.connect_timeout_s)
            except BaseException:
                stream.close()
                raise
            try:
                met = cast(_Shaken, secured.get_extra_info("ssl_object"))
                return met.version() or "TLS", _first_to_expire(met)
            finally:
                secured.close()
        except (httpcore.NetworkError, httpcore.TimeoutException) as error:
            refusal = tls.lasting_refusal(progress.failures)
            if refusal is not None:
                theirs = any(isinstance(each, ssl.SSLCertVerificationError) for each in progress.failures)
                return Probe(Step.HANDSHAKE if theirs else Step.ACCEPTANCE, clean(refusal))
            if str(error).startswith("cannot look up"):
                step = Step.NAME
            what = progress.words() if progress.is_over() else str(error) or type(error).__name__
            # A handshake that is broken off for no reason of certificates is a matter of the network.
            return Probe(Step.NAME if step is Step.NAME else Step.CONNECTION, clean(f"{host}:{port}: {what}"))


class _InPem(Protocol):
    """A certificate as the ssl module keeps it."""

    def public_bytes(self) -> str:
        """Return it in PEM."""


class _Shaken(Protocol):
    """What httpcore gives of a handshake: the ssl module's own object, in all Pythons that we run on."""

    def version(self) -> str | None:
        """Return the protocol's name."""

    def get_verified_chain(self) -> Sequence[_InPem]:
        """Return the chain that was verified, the server's own certificate first."""


def _first_to_expire(met: _Shaken) -> CertificateFacts:
    """Return the certificate in the server's chain that runs out first: most often its own."""
    chain = [x509.load_pem_x509_certificate(each.public_bytes().encode()) for each in met.get_verified_chain()]
    return min(map(_facts, chain), key=lambda each: each.not_after)


def _ask(account: Account, clock: Clock, version: str, server: CertificateFacts) -> Probe:
    unknown_id = f"sealdrop-check-{secrets.token_hex(8)}"
    transport = Transport(account, answer_limit_bytes=_ANSWER_BYTES, clock=clock)
    call = Call(Operation.STATUS, transport.host, (unknown_id,))
    pattern = re.compile(account.unknown_request_pattern or policy.UNKNOWN_REQUEST, re.IGNORECASE)
    asked_at = clock.now()
    try:
        answer = transport.exchange(call, "GET", account.paths.status, {"externalId": unknown_id})
    except SealdropError as error:
        return Probe(_step_of(error), str(error), version, server)
    finally:
        transport.close()
    ahead = None
    if answer.dated is not None:
        # It has whole seconds: half of one more is its best guess, as the middle of the call is ours.
        ahead = asked_at + (clock.now() - asked_at) / 2 - answer.dated - timedelta(seconds=0.5)
    if policy.says_unknown(answer.http_status, answer.error, pattern):
        said = answer.error.message if answer.error is not None else ""
        return Probe(Step.DONE, f"HTTP {answer.http_status}: {said}", version, server, ahead)
    if answer.fault is None:
        text = f"{call}: it answers a request that cannot exist as if it were there"
        return Probe(Step.ANSWER, text, version, server, ahead)
    step = Step.ANSWER if answer.http_status in _ABOUT_THE_REQUEST else _step_of(answer.fault)
    return Probe(step, str(answer.fault), version, server, ahead)


def _step_of(error: SealdropError) -> Step:
    if isinstance(error, MalformedAnswer):
        return Step.ANSWER
    return Step.ACCEPTANCE if isinstance(error, AccountRefused) else Step.SERVICE


def _facts(certificate: x509.Certificate) -> CertificateFacts:
    return CertificateFacts(
        _named(certificate.subject),
        _named(certificate.issuer),
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
    )


def _named(name: x509.Name) -> str:
    """Return the common name and the organisation, or whatever there is."""
    found = [
        str(attribute.value)
        for oid in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME)
        for attribute in name.get_attributes_for_oid(oid)
    ]
    return clean(" of ".join(found[:2]) or name.rfc4514_string())

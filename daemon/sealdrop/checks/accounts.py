"""One SignAPI contract: who we are there, whether the service is there, knows us and is understood."""

from collections.abc import Iterator
from datetime import timedelta

from sealdrop.checks.clocks import judge_difference
from sealdrop.checks.files import missing_credentials
from sealdrop.checks.findings import Condition, Finding
from sealdrop.clock import Clock
from sealdrop.config import Account, Config
from sealdrop.errors import ConfigurationError
from sealdrop.signapi.probe import CertificateFacts, Probe, Step, our_certificate, probe

SOON = timedelta(days=30)  # CertEurope's forms, a signature and a visit take weeks

_CONDITIONS = {
    Step.NAME: Condition.SERVICE_UNKNOWN_NAME,
    Step.CONNECTION: Condition.SERVICE_UNREACHABLE,
    Step.HANDSHAKE: Condition.SERVER_NOT_TRUSTED,
    Step.ACCEPTANCE: Condition.CLIENT_REFUSED,
    Step.ANSWER: Condition.ANSWER_NOT_UNDERSTOOD,
    Step.SERVICE: Condition.SERVICE_FAILS,
}
_CERTIFICATE, _SERVICE = "client certificate", "service"


def judge_account(config: Config, name: str, clock: Clock, *, offline: bool) -> Iterator[Finding]:
    """Yield what is to be said of account ``name``; with ``offline``, nobody is called."""
    subject = f"account {name}"
    elsewhere = list(missing_credentials(config, name))
    if elsewhere:
        yield from elsewhere
        text = "not called: for that, the credentials must be at hand"
        yield Finding.of(elsewhere[0].condition or Condition.OFFLINE, subject, _SERVICE, text, advice="See above.")
        return
    account = config.accounts[name]
    identity = list(judge_identity(account, subject, clock))
    yield from identity
    if offline:
        yield Finding.of(Condition.OFFLINE, subject, _SERVICE, "not called (--offline)")
    elif any(finding.refuses for finding in identity):
        text = "not called: without a certificate that can be used nobody answers"
        yield Finding.of(Condition.OFFLINE, subject, _SERVICE, text, advice="Put the client certificate right first.")
    else:
        yield from _judge_service(account, name, clock)


def judge_identity(account: Account, subject: str, clock: Clock) -> Iterator[Finding]:
    """Yield whether our certificate can be used, and for how long."""
    try:
        ours = our_certificate(account)
    except ConfigurationError as error:
        yield Finding.of(Condition.CERTIFICATE_UNUSABLE, subject, _CERTIFICATE, "; ".join(error.problems))
        return
    left = ours.not_after - clock.now()
    text = f"{ours.subject}, issued by {ours.issuer}"
    if clock.now() > ours.not_after:
        text = f"{text}, expired on {ours.not_after:%Y-%m-%d at %H:%M} UTC"
        yield Finding.of(Condition.CERTIFICATE_EXPIRED, subject, _CERTIFICATE, text)
    elif clock.now() < ours.not_before:
        text = f"{text}, is not valid before {ours.not_before:%Y-%m-%d at %H:%M} UTC"
        yield Finding.of(Condition.CERTIFICATE_NOT_YET, subject, _CERTIFICATE, text)
    elif left < SOON:
        yield Finding.of(Condition.CERTIFICATE_EXPIRING, subject, _CERTIFICATE, f"{text}, {_left(ours, left)}")
    else:
        yield Finding(subject, _CERTIFICATE, f"{text}, {_left(ours, left)}")


def _judge_service(account: Account, name: str, clock: Clock) -> Iterator[Finding]:
    subject = f"account {name}"
    try:
        found = probe(account, clock)
    except ConfigurationError as error:
        yield Finding.of(Condition.CERTIFICATE_UNUSABLE, subject, _SERVICE, "; ".join(error.problems))
        return
    if found.server is not None:
        yield _judge_server(found, found.server, subject, clock)
    if found.failed is Step.DONE:
        yield Finding(subject, _SERVICE, f"accepts the certificate; an unknown request is understood: {found.text}")
    else:
        yield Finding.of(_CONDITIONS[found.failed], subject, _SERVICE, found.text)
    if found.ahead is not None:
        yield judge_difference(name, found.ahead)


def _judge_server(found: Probe, server: CertificateFacts, subject: str, clock: Clock) -> Finding:
    left = server.not_after - clock.now()
    text = f"{server.subject}, issued by {server.issuer}, {_left(server, left)} ({found.tls_version})"
    if left < SOON:
        return Finding.of(Condition.SERVER_CERTIFICATE_EXPIRING, subject, "server certificate", text)
    return Finding(subject, "server certificate", text)


def _left(certificate: CertificateFacts, left: timedelta) -> str:
    days = "less than a day" if left.days == 0 else "1 day" if left.days == 1 else f"{left.days} days"
    return f"{days} left, until {certificate.not_after:%Y-%m-%d}"

"""The files that the configuration names: there, readable for the service's user, and secrets for nobody else."""

import errno
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sealdrop.checks.findings import Condition, Finding
from sealdrop.checks.looking import Facts
from sealdrop.checks.unit import CREDENTIALS, credentials
from sealdrop.config import Account, Config
from sealdrop.errors import ConfigurationError
from sealdrop.places import Credential, Secret

ALERTS = "alerts"

_IMAGES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file that the configuration names: whose it is, its key, and what it has to be."""

    subject: str
    key: str
    path: Path
    is_secret: bool = False
    is_image: bool = False


def files_of(config: Config) -> Iterator[NamedFile]:
    """Yield every file that the configuration names directly."""
    for name, account in config.accounts.items():
        yield from _files_of_account(f"account {name}", account)
    for key, secret in alert_secrets(config):
        if secret.file is not None:
            yield NamedFile(ALERTS, key, secret.file, is_secret=True)
    for key, channel in (("email", config.alerts.email), ("webhook", config.alerts.webhook)):
        if channel is not None and channel.ca_file is not None:
            yield NamedFile(ALERTS, f"{key}.ca_file", channel.ca_file)
    for name, folder in config.folders.items():
        if folder.seal.visible is not None and folder.seal.visible.image is not None:
            yield NamedFile(f"folder {name}", "seal.visible.image", folder.seal.visible.image, is_image=True)


def _files_of_account(subject: str, account: Account) -> Iterator[NamedFile]:
    for key, place in (("certificate", account.certificate), ("key", account.key)):
        if isinstance(place, Path):
            # A PEM file's key may stand in a file of its own; a PKCS#12 file always holds one.
            yield NamedFile(subject, key, place, is_secret=key == "key" or account.key is None)
    if account.passphrase is not None and account.passphrase.file is not None:
        yield NamedFile(subject, "passphrase", account.passphrase.file, is_secret=True)
    if account.ca_file is not None:
        yield NamedFile(subject, "ca_file", account.ca_file)
    for path in account.trust_anchors:
        yield NamedFile(subject, "trust_anchors", path)


def judge_files(config: Config, facts: Mapping[Path, Facts | None], user: str) -> Iterator[Finding]:
    """Yield what is wrong with the named files, other than images; where nothing is, nothing."""
    seen = set[tuple[str, Path]]()
    for file in files_of(config):
        if (file.subject, file.path) not in seen and not file.is_image:
            seen.add((file.subject, file.path))
            yield from judge_file(file, facts[file.path], user)


def judge_file(file: NamedFile, facts: Facts | None, user: str) -> Iterator[Finding]:
    """Yield what is wrong with one file; where nothing is, nothing. ``facts`` is None if it hangs."""
    fault = _fault(file.path, facts, user)
    if fault is not None:
        # A channel that cannot be used is no reason not to seal.
        condition = Condition.ALERTS_MUTE if file.subject == ALERTS else Condition.FILE_UNREADABLE
        yield Finding.of(condition, file.subject, file.key, fault)
        return
    known = facts or Facts(str(file.path))
    if file.is_secret and known.mode & 0o007 and not known.is_behind:
        text = f"everybody on this machine may read or change {file.path}: it has mode {known.mode:04o}"
        yield Finding.of(Condition.SECRET_READABLE, file.subject, file.key, text)
    if file.is_image and not bytes.fromhex(known.beginning).startswith(_IMAGES):
        yield Finding.of(Condition.IMAGE_UNUSABLE, file.subject, file.key, f"{file.path} is neither PNG nor JPEG")


def _fault(path: Path, facts: Facts | None, user: str) -> str | None:
    if facts is None:
        return f"whoever reads {path} hangs"
    if facts.error == errno.ENOENT:
        return f"there is no file {path}"
    if facts.error or facts.read_error:
        return f"{user} cannot read {path}: {os.strerror(facts.error or facts.read_error)}"
    return None if facts.is_file else f"{path} is no file"


def credentials_of(account: Account) -> Iterator[tuple[str, str]]:
    """Yield key and name of everything that only systemd, or only an environment, hands out."""
    for key, place in (("certificate", account.certificate), ("key", account.key)):
        if isinstance(place, Credential):
            yield key, place.credential
    if account.passphrase is not None and account.passphrase.credential is not None:
        yield "passphrase", account.passphrase.credential


def missing_credentials(config: Config, name: str) -> Iterator[Finding]:
    """Yield the credentials of account ``name`` that this process was not given, and could not be."""
    account = config.accounts[name]
    yield from _elsewhere(config, f"account {name}", credentials_of(account))
    if account.passphrase is not None and account.passphrase.env is not None:
        yield from _unset(f"account {name}", "passphrase", account.passphrase.env)


def judge_alerts(config: Config) -> Iterator[Finding]:
    """Yield who is told when something is wrong, and what a channel lacks that is neither file nor host."""
    channels = [name for name in ("email", "webhook") if getattr(config.alerts, name) is not None]
    text = f"by {' and '.join(channels)}" if channels else "nobody is told: no [alerts.email], no [alerts.webhook]"
    yield Finding(ALERTS, "channels", text)
    secrets = list(alert_secrets(config))
    given = [(key, secret.credential) for key, secret in secrets if secret.credential is not None]
    yield from _elsewhere(config, ALERTS, given)
    for key, secret in secrets:
        if secret.env is not None:
            yield from _unset(ALERTS, key, secret.env)
        elif secret.credential is not None and "CREDENTIALS_DIRECTORY" in os.environ:
            try:
                secret.read()
            except ConfigurationError as error:
                yield Finding.of(Condition.ALERTS_MUTE, ALERTS, key, "; ".join(error.problems))


def alert_secrets(config: Config) -> Iterator[tuple[str, Secret]]:
    """Yield every secret of the channels, and its key."""
    email, webhook = config.alerts.email, config.alerts.webhook
    if email is not None and email.password is not None:
        yield "email.password", email.password
    if webhook is not None:
        if isinstance(webhook.url, Secret):
            yield "webhook.url", webhook.url
        yield from ((f"webhook.headers.{name}", secret) for name, secret in webhook.headers.items())


def credentials_elsewhere(config: Config, *options: str) -> Iterator[str]:
    """Yield how to run the check with the credentials, if the configuration names some and none are here."""
    names = sorted({name for _, name in credentials(config)})
    if names and "CREDENTIALS_DIRECTORY" not in os.environ:
        loaded = " ".join(f"-p LoadCredential={name}:{CREDENTIALS / name}" for name in names)
        words = " ".join(("sealdrop check", *options))
        yield (
            "Only systemd hands it out. Have it run the check, with the files of LoadCredential= in the unit:\n"
            f"systemd-run --pipe --wait -p User=sealdrop {loaded} {words} --config {config.source.absolute()}"
        )


def _elsewhere(config: Config, subject: str, named: Iterable[tuple[str, str]]) -> Iterator[Finding]:
    for advice in credentials_elsewhere(config):
        for key, credential in named:
            text = f"the systemd credential {credential!r} is not handed out here"
            yield Finding.of(Condition.CREDENTIAL_ELSEWHERE, subject, key, text, advice=advice)


def _unset(subject: str, key: str, variable: str) -> Iterator[Finding]:
    if variable not in os.environ:
        text = f"the environment variable {variable} is not set here"
        advice = f"Set it as the service has it: {variable}=... sealdrop check."
        yield Finding.of(Condition.CREDENTIAL_ELSEWHERE, subject, key, text, advice=advice)

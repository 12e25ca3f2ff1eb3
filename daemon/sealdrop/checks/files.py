"""The files that the configuration names: there, readable for the service's user, and secrets for nobody else."""

import errno
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sealdrop.checks.findings import Condition, Finding
from sealdrop.checks.looking import Facts
from sealdrop.config import Account, Config
from sealdrop.places import Credential

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
        subject = f"account {name}"
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
    for name, folder in config.folders.items():
        if folder.seal.visible is not None and folder.seal.visible.image is not None:
            yield NamedFile(f"folder {name}", "seal.visible.image", folder.seal.visible.image, is_image=True)


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
        yield Finding.of(Condition.FILE_UNREADABLE, file.subject, file.key, fault)
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
    if "CREDENTIALS_DIRECTORY" not in os.environ:
        for key, credential in credentials_of(account):
            text = f"the systemd credential {credential!r} is not handed out here"
            yield Finding.of(Condition.CREDENTIAL_ELSEWHERE, f"account {name}", key, text, advice=_advice(config))
    if account.passphrase is not None and account.passphrase.env is not None:
        variable = account.passphrase.env
        if variable not in os.environ:
            text = f"the environment variable {variable} is not set here"
            advice = f"Set it as the service has it: {variable}=... sealdrop check."
            yield Finding.of(Condition.CREDENTIAL_ELSEWHERE, f"account {name}", "passphrase", text, advice=advice)


def _advice(config: Config) -> str:
    names = sorted({name for account in config.accounts.values() for _, name in credentials_of(account)})
    loaded = " ".join(f"-p LoadCredential={name}:FILE" for name in names)
    return (
        "Only systemd hands it out. Have it run the check, with the FILE of LoadCredential= in the service's unit:\n"
        f"systemd-run --pipe --wait -p User=sealdrop {loaded} sealdrop check --config {config.source.absolute()}"
    )

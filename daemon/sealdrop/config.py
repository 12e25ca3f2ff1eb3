"""The configuration: a TOML file, read into frozen values, every fault reported at once with its place.

Relative paths are relative to the file. Secrets are never in the file: it only says where they are. Each key is
explained in ``config.example.toml``. (Long, because it is the list of all keys.)
"""

import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path, PurePath
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    Discriminator,
    Field,
    PlainValidator,
    Tag,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from sealdrop.errors import ConfigurationError
from sealdrop.hours import Hours, read_hours
from sealdrop.model import AlertKind, CompanionKind, Reason, SealLevel
from sealdrop.naming import Template, read_template
from sealdrop.places import ConfiguredPath, FileOrCredential, Secret, Table

Seconds = Annotated[float, Field(gt=0, le=86_400)]
Days = Annotated[float, Field(gt=0, le=36_500)]
LARGEST_DOCUMENT_MIB = 2048
LEAST_CALLS_PER_S = 0.1  # with fewer, a claim would have to be kept for a day to be worked off
NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,62}$"

# Reason codes that a folder may not change: no PDF software seals such files in a way that means anything
# (validation.md, the verdicts marked *).
FIXED_RULES = frozenset(
    {
        Reason.EMPTY,
        Reason.NOT_PDF,
        Reason.ENCRYPTED_USER,
        Reason.ENCRYPTED_UNSUPPORTED,
        Reason.TRUNCATED,
        Reason.PARSER_LIMIT,
        Reason.UNREADABLE,
        Reason.ZERO_PAGES,
        Reason.CERTIFIED_NO_CHANGES,
        Reason.XFA_DYNAMIC,
    }
)

# A place in a status answer: names joined by dots, [] after the name of a list whose entries are all looked at.
ARCHIVE_ID_PLACE = re.compile(r"[A-Za-z_]\w*(\[\])?(\.[A-Za-z_]\w*(\[\])?)*")

Rule = Literal["reject", "warn", "allow"]
Companions = Literal["ignore", "optional", "required"]
Duplicates = Literal["reject", "deliver-again", "seal-again"]
Corner = Literal["bottom-left", "bottom-right", "top-left", "top-right"]
SealPage = Literal["first", "last"] | int
LONGEST_MM = 5_080.0  # the side of the largest page there is (ISO 32000-1, annex C.2)

DEFAULT_RULES: Mapping[Reason, Rule] = {
    Reason.ENCRYPTED_OWNER: "reject",
    Reason.HEADER_OFFSET: "reject",
    Reason.TOO_MANY_PAGES: "reject",
    Reason.XREF_BROKEN: "reject",
    Reason.ACTIVE_CONTENT: "reject",
    Reason.UNSEALABLE: "reject",
    Reason.IMAGE_TRANSPARENCY: "warn",
    Reason.ALREADY_SIGNED: "warn",
    Reason.CERTIFIED: "warn",
    Reason.PDFA_CLAIM: "warn",
    Reason.ATTACHMENTS: "warn",
    Reason.INTERACTIVE_CONTENT: "warn",
    Reason.XREF_LENIENT: "warn",
    Reason.TRAILING_DATA: "warn",
    Reason.USAGE_RIGHTS: "warn",
    Reason.XFA_STATIC: "warn",
    Reason.PORTFOLIO: "warn",
    Reason.HYBRID_XREF: "allow",
    Reason.OTHER_TRANSPARENCY: "allow",
    Reason.LAYERS: "allow",
}


class Paths(Table):
    """Where each operation of the centralized workflow lives, below the account's base URL (signapi.md, [A])."""

    create: str = "/centralized/signatures"
    sign: str = "/centralized/signatures/sign"
    status: str = "/centralized/signatures/"
    search: str = "/centralized/signatures/search/"

    @field_validator("*")
    @classmethod
    def _absolute(cls, value: str) -> str:
        if not value.startswith("/") or "?" in value or "#" in value:
            raise ValueError("must start with / and hold neither ? nor #")
        return value


class VisibleUnits(Table):
    """How the service counts where a visible seal stands: documented nowhere, so all of it can be said here."""

    units_per_point: float = Field(default=1.0, gt=0, le=10_000)
    points_per_pixel: float = Field(default=1.0, gt=0, le=10_000)
    origin: Literal["bottom-left", "top-left"] = "bottom-left"
    line_origin: Literal["bottom-left", "top-left"] = "bottom-left"
    rotated_pages: Literal["as-stored", "as-seen"] = "as-stored"


class Account(Table):
    """One SignAPI contract: where it is, how we prove who we are, whose seal we expect back."""

    base_url: str
    certificate: FileOrCredential
    key: FileOrCredential | None = None
    passphrase: Secret | None = None
    ca_file: ConfiguredPath | None = None
    organisation: str = Field(min_length=1)
    trust_anchors: tuple[ConfiguredPath, ...] = Field(min_length=1)
    paths: Paths = Paths()
    visible_units: VisibleUnits = VisibleUnits()
    archive_id: tuple[str, ...] = ("archiveId", "archives[].archiveId")
    unknown_request_pattern: str | None = None  # None: sealdrop.signapi.policy.UNKNOWN_REQUEST
    mode: Literal["ASYNC", "SYNC"] = "ASYNC"
    connect_timeout_s: Seconds = 10.0
    read_timeout_s: Seconds = 60.0
    call_timeout_s: Seconds = 120.0
    connections: int = Field(default=8, ge=1, le=64)
    calls_per_s: float = Field(default=0.0, ge=0, le=10_000)
    batch_documents: int = Field(default=16, ge=1, le=500)
    batch_mib: float = Field(default=32.0, gt=0, le=1024)
    poll_first_s: Seconds = 0.5
    poll_longest_s: Seconds = 30.0
    retry_first_s: Seconds = 2.0
    retry_longest_s: Seconds = 300.0
    ask_after_s: Seconds = 5.0
    sign_again_after_s: Seconds = 180.0
    breaker_failures: int = Field(default=5, ge=1, le=1000)
    refused_alone_s: Seconds = 60.0

    @field_validator("base_url")
    @classmethod
    def _https(cls, value: str) -> str:
        if not value.isprintable() or " " in value:
            raise ValueError("must be an address, without spaces or control characters")
        parts = urlsplit(value)
        if parts.port == 0:
            raise ValueError("must have a port that can be called")
        if parts.scheme != "https" or not parts.hostname or parts.query or parts.fragment or parts.username:
            raise ValueError("must be an https:// address without user, query or fragment")
        return value.rstrip("/")

    @field_validator("archive_id")
    @classmethod
    def _places(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for place in value:
            if not ARCHIVE_ID_PLACE.fullmatch(place):
                raise ValueError(f"{place!r} is no place in an answer, like archiveId or archives[].archiveId")
        return value

    @field_validator("unknown_request_pattern")
    @classmethod
    def _pattern(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            pattern = re.compile(value)
        except re.error as error:
            raise ValueError(f"is no regular expression: {error}") from error
        if pattern.search(""):
            raise ValueError("matches an empty text, so every error would look like an unknown request")
        return value

    @field_validator("calls_per_s")
    @classmethod
    def _often_enough(cls, value: float) -> float:
        if 0 < value < LEAST_CALLS_PER_S:
            raise ValueError(f"must be {LEAST_CALLS_PER_S:g} or more, or 0 for no limit")
        return value

    @model_validator(mode="after")
    def _timeouts(self) -> Self:
        if self.sign_again_after_s <= self.call_timeout_s:
            raise ValueError("sign_again_after_s must be longer than call_timeout_s")
        return self


class SealLine(Table):
    """A line of text in a visible seal (signapi.md, ``linesOptions``); its fields are `sealdrop.visible.lines`'."""

    text: str
    color: int = Field(default=0, ge=0, le=0xFFFFFF)
    font_size: int = Field(default=10, ge=1, le=200)
    font: str = "Times_roman"
    x_px: float = Field(default=4.0, ge=0)
    y_px: float = Field(default=4.0, ge=0)


class VisibleSeal(Table):
    """A seal that can be seen on a page (signapi.md, ``pdfSignatureOptions``): an image, or a white area of a size."""

    image: ConfiguredPath | None = None
    width_mm: float | None = Field(default=None, gt=0, le=LONGEST_MM)
    height_mm: float | None = Field(default=None, gt=0, le=LONGEST_MM)
    page: SealPage = "first"
    corner: Corner = "bottom-right"
    x_mm: float = Field(default=10.0, ge=0, le=LONGEST_MM)
    y_mm: float = Field(default=10.0, ge=0, le=LONGEST_MM)
    lines: tuple[SealLine, ...] = ()

    @field_validator("page", mode="before")
    @classmethod
    def _page(cls, value: object) -> object:
        if value in ("first", "last") or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
            return value
        raise ValueError('must be "first", "last" or a number from 1')

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        sides = (self.width_mm, self.height_mm)
        if self.image is not None and sides != (None, None):
            raise ValueError("an image has its own size: leave out width_mm and height_mm")
        if self.image is None and None in sides:
            raise ValueError("give image, or else width_mm and height_mm")
        return self


class Seal(Table):
    """What is asked for: the PAdES level, the archive deposit, the looks."""

    level: SealLevel = SealLevel.LTA
    digest: Literal["SHA256"] = "SHA256"
    archive: bool = True
    archivers: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    visible: VisibleSeal | None = None


class Validation(Table):
    """Which PDFs a folder accepts (validation.md)."""

    max_mib: float = Field(default=100.0, gt=0, le=LARGEST_DOCUMENT_MIB)
    max_pages: int = Field(default=5_000, ge=1)
    rules: Mapping[Reason, Rule] = Field(default_factory=dict)

    @field_validator("rules")
    @classmethod
    def _changeable(cls, value: Mapping[Reason, Rule]) -> Mapping[Reason, Rule]:
        problems = [f"{code} is always rejected" for code in value if code in FIXED_RULES]
        others = set(value) - FIXED_RULES - set(DEFAULT_RULES)
        problems += [f"{code} is not a rule about documents that can be changed here" for code in sorted(others)]
        if problems:
            raise ValueError("\n".join(problems))
        return value

    def rule(self, code: Reason) -> Rule:
        """Return what is done with a document to which ``code`` applies."""
        return self.rules.get(code, DEFAULT_RULES.get(code, "reject"))


class Folder(Table):
    """One inbound folder and where its documents go."""

    account: str
    inbound: ConfiguredPath
    outbound: ConfiguredPath
    rejected: ConfiguredPath
    failed: ConfiguredPath
    subfolders: bool = True
    sweep_s: Seconds = 30.0
    settle_s: Seconds = 2.0
    incomplete_s: Seconds = 60.0
    duplicates: Duplicates = "reject"
    sidecar: Companions = "ignore"
    checksum: Companions = "ignore"
    sidecar_archivers: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    processed: ConfiguredPath | None = None
    keep_processed_days: Days | None = None
    keep_rejected_days: Days | None = None
    keep_failed_days: Days | None = None
    outbound_name: Annotated[Template, PlainValidator(read_template)] = Template()
    hours: Annotated[Hours, PlainValidator(read_hours)] = Hours()
    daily_quota: int | None = Field(default=None, ge=1)
    in_flight_documents: int = Field(default=5_000, ge=1, le=1_000_000)
    in_flight_mib: float = Field(default=4_096.0, gt=0, le=1 << 20)
    seal: Seal = Seal()
    validation: Validation = Validation()

    @model_validator(mode="after")
    def _keeps(self) -> Self:
        if self.keep_processed_days is not None and self.processed is None:
            raise ValueError("keep_processed_days needs processed, the folder that originals are kept in")
        return self

    @property
    def holds_some(self) -> bool:
        """Whether some of its documents may be kept waiting, for its hours or its quota."""
        return bool(self.hours.windows) or self.daily_quota is not None

    def rule_for(self, kind: CompanionKind) -> Companions:
        """Return what is done with companions of that kind."""
        return self.sidecar if kind is CompanionKind.SIDECAR else self.checksum

    def places(self) -> Iterator[tuple[str, Path]]:
        """Yield the key and the path of each of the four folders, and of the fifth if there is one."""
        yield "inbound", self.inbound
        yield "outbound", self.outbound
        yield "rejected", self.rejected
        yield "failed", self.failed
        if self.processed is not None:
            yield "processed", self.processed


class Service(Table):
    """The process itself."""

    state_dir: ConfiguredPath
    allow_unsafe_state: bool = False
    create_folders: bool = False
    grace_s: Seconds = 20.0
    min_free_mib: float = Field(default=256.0, ge=0, le=1 << 20)
    spool_mib: float = Field(default=0.0, ge=0, le=1 << 24)
    inspectors: int = Field(default=2, ge=1, le=64)
    log_format: Literal["auto", "json", "console"] = "auto"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    time_zone: str | None = None

    @field_validator("time_zone")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        try:
            return value if value is None else ZoneInfo(value).key
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"there is no time zone {value!r} on this machine, give one like Europe/Paris") from error

    def zone(self) -> ZoneInfo | None:
        """Return the zone that days and hours are counted in; None is the system's own."""
        return None if self.time_zone is None else ZoneInfo(self.time_zone)

    @property
    def ledger_path(self) -> Path:
        """Where the ledger is."""
        return self.state_dir / "ledger.sqlite"

    @property
    def audit_folder(self) -> Path:
        """Where the audit trail's files are."""
        return self.state_dir / "audit"


class Metrics(Table):
    """Figures for Prometheus: nowhere by default."""

    listen: str | None = None
    textfile: ConfiguredPath | None = None
    every_s: Seconds = 15.0

    @field_validator("listen")
    @classmethod
    def _loopback(cls, value: str | None) -> str | None:
        if value is not None:
            host, port = host_and_port(value)
            if not is_loopback(host) or port is None:
                raise ValueError('must be a loopback address with a port, like "127.0.0.1:9464" or "[::1]:9464"')
        return value


Address = Annotated[str, Field(pattern=r"^[!-~]+@[A-Za-z0-9.-]+$", max_length=254)]


class Email(Table):
    """Alerts by e-mail, to a mail server."""

    host: str = Field(pattern=r"^[A-Za-z0-9.:_-]+$")
    port: int | None = Field(default=None, ge=1, le=65_535)  # None: 587, with "tls" 465, with "none" 25
    security: Literal["starttls", "tls", "none"] = "starttls"
    sender: Address = Field(alias="from")
    to: tuple[Address, ...] = Field(min_length=1, max_length=50)
    user: str | None = None
    password: Secret | None = None
    ca_file: ConfiguredPath | None = None
    timeout_s: Seconds = 30.0

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password go together")
        if self.user is not None and self.security == "none" and not is_loopback(self.host):
            raise ValueError('a password is sent only with security = "starttls" or "tls"')
        return self


def _form_of_url(value: object) -> str:
    return "<table>" if isinstance(value, dict | Secret) else "<text>"


class Webhook(Table):
    """Alerts by an HTTP request. The address of a chat's webhook is a secret by itself, so it may be one here."""

    url: Annotated[Annotated[str, Tag("<text>")] | Annotated[Secret, Tag("<table>")], Discriminator(_form_of_url)]
    headers: Mapping[Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")], Secret] = Field(default_factory=dict)
    format: Literal["json", "slack", "teams"] = "json"
    ca_file: ConfiguredPath | None = None
    timeout_s: Seconds = 30.0

    @field_validator("url")
    @classmethod
    def _protected(cls, value: str | Secret) -> str | Secret:
        if isinstance(value, str) and not is_protected(value):
            raise ValueError("must be an https:// address; http:// only to this machine itself")
        return value


class Alerts(Table):
    """What is told by e-mail or webhook, and how often; nothing goes anywhere without one of the two tables."""

    switched_off: tuple[AlertKind, ...] = ()
    late_minutes: float = Field(default=60.0, gt=0, le=43_200)
    signapi_minutes: float = Field(default=15.0, ge=0, le=43_200)
    folder_minutes: float = Field(default=2.0, ge=0, le=43_200)
    certificate_days: tuple[Annotated[int, Field(ge=1, le=3_650)], ...] = (30, 14, 7, 1)
    interval_minutes: float = Field(default=15.0, ge=0, le=1_440)
    repeat_hours: float = Field(default=24.0, ge=1, le=720)
    names: int = Field(default=10, ge=1, le=100)
    email: Email | None = None
    webhook: Webhook | None = None


def host_and_port(listen: str) -> tuple[str, int | None]:
    """Return the two halves of ``HOST:PORT``, where a version 6 address stands in brackets; no port if there is none.

    Raises:
        ValueError: the port is no port.
    """
    parts = urlsplit(f"//{listen}")
    if parts.path or parts.query or parts.fragment or parts.username is not None:
        raise ValueError("must be an address with a port")
    return parts.hostname or "", parts.port


def is_loopback(host: str) -> bool:
    """Return whether ``host`` is this machine itself, whatever a resolver says."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_protected(url: str) -> bool:
    """Return whether what is sent to ``url`` is either encrypted or does not leave this machine."""
    if not url.isprintable() or " " in url:
        return False
    try:
        parts = urlsplit(url)
        (parts.hostname or "").encode("idna")  # a part that is empty or too long is no host's
        usable = bool(parts.hostname) and parts.port != 0 and parts.username is None and not parts.fragment
    except ValueError:
        return False
    return usable and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or "")))


class Config(Table):
    """The whole file. ``source`` is its path, for messages; ``sha256`` is the digest of its bytes, for the record."""

    source: Path = Path("sealdrop.toml")
    sha256: str = ""
    service: Service
    metrics: Metrics = Metrics()
    alerts: Alerts = Alerts()
    accounts: Mapping[Annotated[str, Field(pattern=NAME_PATTERN)], Account] = Field(min_length=1)
    folders: Mapping[Annotated[str, Field(pattern=NAME_PATTERN)], Folder] = Field(min_length=1)

    @model_validator(mode="after")
    def _agrees(self, info: ValidationInfo) -> Self:
        real = os.path.realpath if (info.context or {}).get("follow_links", True) else os.path.normpath
        problems = [*_unknown_accounts(self.folders, self.accounts)]
        problems += _overlaps(self.folders, self.service.state_dir, real)
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def account_of(self, folder: str) -> Account:
        """Return the account that seals for ``folder``."""
        return self.accounts[self.folders[folder].account]

    def overlaps(self) -> list[str]:
        """Return which folders are inside others that they must not be inside, wherever links lead by now."""
        return list(_overlaps(self.folders, self.service.state_dir, os.path.realpath))

    def largest_document_bytes(self, account: str) -> int:
        """Return the size limit of the folder that takes the largest documents for ``account``."""
        limits_mib = [folder.validation.max_mib for folder in self.folders.values() if folder.account == account]
        return int(max(limits_mib, default=0) * (1 << 20))


def _unknown_accounts(folders: Mapping[str, Folder], accounts: Mapping[str, Account]) -> Iterator[str]:
    for name, folder in folders.items():
        if folder.account not in accounts:
            known = ", ".join(sorted(accounts))
            yield f"folders.{name}.account: there is no account {folder.account!r} (there is: {known})"


def _overlaps(folders: Mapping[str, Folder], state_dir: Path, follow: Callable[[Path], str]) -> Iterator[str]:
    """What comes out must never lie where it goes in again, to be sealed once more, and once more.

    Sub-folders are made again in the other folders, and people choose their names: so no inbound folder and no state
    may be inside any of the others either. Links are followed as far as there are any yet.
    """
    places = [(f"folders.{name}.{key}", path) for name, folder in folders.items() for key, path in folder.places()]
    places.append(("service.state_dir", state_dir))
    real = {key: Path(follow(path)) for key, path in places}
    for outer_key, outer in places:
        is_inbound = outer_key.endswith(".inbound")
        for key, path in places:
            if key == outer_key or not _is_inside(real[key], real[outer_key]):
                continue
            if is_inbound:
                yield f"{key}: {path} is inside {outer_key} ({outer}); what is written there would be sealed again"
            elif outer_key != "service.state_dir" and (key.endswith(".inbound") or key == "service.state_dir"):
                yield f"{key}: {path} is inside {outer_key} ({outer}); a sub-folder of that name would come out there"
            elif {outer_key.rpartition(".")[2], key.rpartition(".")[2]} == {"outbound", "processed"}:
                yield f"{key}: {path} is inside {outer_key} ({outer}); an original would be taken for a sealed document"


def _is_inside(path: PurePath, folder: PurePath) -> bool:
    return path == folder or folder in path.parents


def load(path: Path, *, follow_links: bool = True) -> Config:
    """Read and check the configuration file at ``path``.

    Without ``follow_links`` no folder that it names is touched, so that none can hang; then a link may hide that one
    is inside another.

    Raises:
        ConfigurationError: it cannot be used; all its faults are in ``problems``.
    """
    source = str(path)
    try:
        raw = path.read_bytes()
        content = tomllib.loads(raw.decode("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(source, [f"cannot be read: {error}"]) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(source, [f"is not TOML: {error}"]) from error
    if ours := sorted({"source", "sha256"} & content.keys()):
        raise ConfigurationError(source, [f"{key}: unknown key" for key in ours])
    known = {"source": path, "sha256": sha256(raw).hexdigest()}
    context = {"base": path.absolute().parent, "follow_links": follow_links}
    try:
        return Config.model_validate({**content, **known}, context=context)
    except ValidationError as error:
        raise ConfigurationError(source, list(_problems(error))) from error


def _problems(error: ValidationError) -> Iterator[str]:
    """One line for each fault: where it is, what is wrong. No line holds a value, which may be a secret."""
    for fault in error.errors(include_url=False, include_input=False):
        place = ".".join(str(part) for part in fault["loc"] if str(part)[:1] not in "<[")
        for line in _words(fault):
            yield f"{place}: {line}" if place else line


def _words(fault: ErrorDetails) -> Sequence[str]:
    match fault["type"]:
        case "extra_forbidden":
            return ("unknown key",)
        case "missing":
            return ("missing",)
        case "value_error":
            return str(fault["ctx"]["error"]).splitlines()
        case "path_type":
            return ("must be a path",)
        case "model_type":
            return ("must be a table",)
        case "enum" if fault["loc"][-1] == "[key]":
            return ("unknown key",)
        case "string_pattern_mismatch":
            return ("a name is made of a-z, 0-9, _ and -, and has at most 63 characters",)
        case _:
            return (fault["msg"],)

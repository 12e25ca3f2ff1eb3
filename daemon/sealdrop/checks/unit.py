"""What a systemd unit lets the service reach, and the drop-in that a configuration needs.

Text and values in, text and values out: no file is opened and no host is asked. The settings are those of
systemd.exec(5) and systemd.resource-control(5), version 252, with its rules of which goes before which:

- What is inaccessible hides all below it, whatever is said of that (InaccessiblePaths=, ProtectHome=true).
- What is empty (TemporaryFileSystem=, ProtectHome=tmpfs, PrivateTmp=) hides all below it but what is bound there.
- Else the setting that names the nearest folder counts; of two that name the same one, the stricter.

Not judged: a root of its own (RootDirectory=, RootImage=), and who the files belong to. (Long, because
the rules only mean something together.)
"""

import ipaddress
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel

from sealdrop.config import Config
from sealdrop.places import Credential, Secret

CREDENTIALS = Path("/etc/sealdrop/credentials")  # root's files, one for each credential (systemd/tmpfiles.d)
STOP_MARGIN_S = 40  # the unit's TimeoutStopSec= beyond service.grace_s
UNIT_STOP_S = 60  # TimeoutStopSec= as the unit has it

# Of the keys that name a path: those where the service writes. All others are read.
_WRITTEN = frozenset({"state_dir", "inbound", "outbound", "rejected", "failed", "processed"})
# Files that are replaced, so that it is their folder which is written. No document waits for them, so the service
# starts without that folder, too.
_REPLACED = frozenset({"textfile"})

# Folders with much else in them: never made writable as a whole because two of ours lie there.
_SHARED = frozenset(
    map(Path, ("/var/lib", "/var/spool", "/var/cache", "/var/log", "/var/tmp", "/usr/local", "/run/user"))  # noqa: S108 - named, not used
)
_HOMES = tuple(map(Path, ("/home", "/root", "/run/user")))
_TEMPORARY = tuple(map(Path, ("/tmp", "/var/tmp")))  # noqa: S108 - named, not used
_SYSTEM = tuple(map(Path, ("/usr", "/boot", "/efi")))
# Where systemd makes a service's own folders.
_OWN = {
    "RuntimeDirectory": Path("/run"),
    "StateDirectory": Path("/var/lib"),
    "CacheDirectory": Path("/var/cache"),
    "LogsDirectory": Path("/var/log"),
}

_PARTS = re.compile(r"(?<!\\):")


class Reach(IntEnum):
    """What the service can do with what a setting covers, the strictest first."""

    INACCESSIBLE = 0
    EMPTY = 1
    READ = 2
    WRITE = 3


@dataclass(frozen=True, slots=True)
class Rule:
    """One setting's say about a folder and all below it; ``binds`` if it brings something from elsewhere there."""

    folder: Path
    reach: Reach
    setting: str
    binds: bool = False

    def covers(self, path: Path) -> bool:
        """Whether it is about ``path``."""
        return path.is_relative_to(self.folder)


@dataclass(frozen=True, slots=True)
class Place:
    """A path that the service needs: where the configuration names it, and whether it is written there.

    ``is_extra`` says that the service works without it.
    """

    key: str
    path: Path
    is_written: bool = False
    is_extra: bool = False


@dataclass(frozen=True, slots=True)
class Blocked:
    """Something that the unit keeps from the service: the key that names it, the setting, and what to do."""

    key: str
    what: str
    setting: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.key}: {self.what} (the unit's {self.setting}): {self.remedy}"


class Unit:
    """A unit's settings, its drop-ins after it, as ``systemctl cat`` prints them."""

    def __init__(self, *texts: str) -> None:
        self._settings: dict[str, list[str]] = {}
        for text in texts:
            for name, value in _assignments(text):
                if value:
                    self._settings.setdefault(name, []).append(value)
                else:  # an empty one takes back what was said before
                    self._settings.pop(name, None)

    def last(self, name: str, default: str = "") -> str:
        """Return the value of a setting that can have one only."""
        return self._settings.get(name, [default])[-1]

    def all(self, name: str) -> list[str]:
        """Return the words of a setting that can be given again and again."""
        return [word.replace("%%", "%") for value in self._settings.get(name, ()) for word in _words(value)]

    def is_on(self, name: str) -> bool:
        """Whether a switch is on."""
        return self.last(name).lower() in ("yes", "true", "on", "1")

    def credentials(self) -> Mapping[str, Path | None]:
        """Return the names of the credentials that the service is given, each with the file it is from, if it is."""
        given: dict[str, Path | None] = {}
        for name in ("SetCredential", "SetCredentialEncrypted", "LoadCredential", "LoadCredentialEncrypted"):
            for word in self.all(name):
                credential, _, source = word.partition(":")
                is_file = name.startswith("Load") and source.startswith("/")
                given[credential] = Path(source) if is_file else None
        return given

    def rules(self) -> Iterator[Rule]:
        """Yield what its settings say about paths."""
        system, home = self.last("ProtectSystem"), self.last("ProtectHome")
        if system == "strict":
            yield Rule(Path("/"), Reach.READ, "ProtectSystem=strict")
            # Homes are ProtectHome='s affair alone.
            yield from (Rule(folder, Reach.WRITE, "ProtectSystem=strict") for folder in _HOMES)
        elif system == "full" or self.is_on("ProtectSystem"):
            folders = (*_SYSTEM, Path("/etc")) if system == "full" else _SYSTEM
            yield from (Rule(folder, Reach.READ, f"ProtectSystem={system}") for folder in folders)
        by_home = {"tmpfs": Reach.EMPTY, "read-only": Reach.READ}
        if home in by_home or self.is_on("ProtectHome"):
            reach = by_home.get(home, Reach.INACCESSIBLE)
            yield from (Rule(folder, reach, f"ProtectHome={home}") for folder in _HOMES)
        if self.is_on("PrivateTmp"):
            yield from (Rule(folder, Reach.EMPTY, f"PrivateTmp={self.last('PrivateTmp')}") for folder in _TEMPORARY)
        for name, reach in (
            ("InaccessiblePaths", Reach.INACCESSIBLE),
            ("ReadOnlyPaths", Reach.READ),
            ("ReadWritePaths", Reach.WRITE),
        ):
            yield from (Rule(Path(word.lstrip("-+")), reach, f"{name}={word}") for word in self.all(name))
        for word in self.all("TemporaryFileSystem"):
            yield Rule(Path(word.partition(":")[0]), Reach.EMPTY, f"TemporaryFileSystem={word}")
        for name, reach in (("BindPaths", Reach.WRITE), ("BindReadOnlyPaths", Reach.READ)):
            for word in self.all(name):
                source, *target = (part.replace("\\:", ":") for part in _PARTS.split(word.lstrip("-")))
                yield Rule(Path(target[0] if target else source), reach, f"{name}={word}", binds=True)
        for name, parent in _OWN.items():
            for word in self.all(name):
                yield Rule(parent / word.partition(":")[0], Reach.WRITE, f"{name}={word}")


def blocked(
    config: Config,
    *units: str,
    programs: Iterable[Path] = (),
    is_there: Callable[[Path], bool] = lambda _: True,
    resolve: Callable[[Path], Path] = lambda path: path,
) -> list[Blocked]:
    """Return what the configuration names and the unit (its text, those of its drop-ins) would keep from the service.

    ``programs`` are the folders that the program is made of, which the service reads, too. ``is_there`` says whether a
    credential's file is, ``resolve`` follows links, if they are to.
    """
    unit = Unit(*units)
    rules = list(unit.rules())
    found = []
    for place in (*places(config), *(Place("the program", path) for path in programs)):
        given, setting = reach(resolve(place.path), rules)
        if given < Reach.READ:
            remedy = "choose a place elsewhere, or use the drop-in"
            found.append(Blocked(place.key, f"{place.path} would not be there for the service", setting, remedy))
        elif place.is_written and given is not Reach.WRITE:
            remedy = f"ReadWritePaths={place.path}, or use the drop-in"
            found.append(Blocked(place.key, f"{place.path} would be read-only for the service", setting, remedy))
    loaded = unit.credentials()
    for name, source in loaded.items():
        if source is not None and not is_there(source):
            # Whether the configuration names it or not: systemd starts nothing without it (status 243).
            what = f"{source} is not there, and systemd does not start the service without it"
            found.append(
                Blocked("credentials", what, f"LoadCredential={name}:{source}", "put the secret into that file")
            )
    for key, name in credentials(config):
        if name not in loaded:
            remedy = f"LoadCredential={name}:{CREDENTIALS / name}, with the secret in that file"
            found.append(
                Blocked(key, f"the service would not be given the credential {name!r}", "LoadCredential=", remedy)
            )
    return found


def reach(path: Path, rules: Iterable[Rule]) -> tuple[Reach, str]:
    """Return what the service can do with ``path``, and the setting that says so."""
    found = Rule(Path("/"), Reach.WRITE, "")
    for rule in sorted((rule for rule in rules if rule.covers(path)), key=lambda rule: len(rule.folder.parts)):
        if rule.reach is Reach.INACCESSIBLE:
            return rule.reach, rule.setting
        if found.reach is Reach.EMPTY and not rule.binds:
            continue
        if rule.folder != found.folder or rule.reach < found.reach:
            found = rule
    return found.reach, found.setting


def places(config: Config) -> Iterator[Place]:
    """Yield every path that the configuration names, and its own."""
    yield Place("the configuration", config.source.absolute())
    for key, value in _values(config):
        name = key.rpartition(".")[2]
        if isinstance(value, Path) and name in _REPLACED:
            yield Place(key, value.parent, is_written=True, is_extra=True)
        elif isinstance(value, Path) and key != "source":
            yield Place(key, value, is_written=name in _WRITTEN)
        elif isinstance(value, Secret) and value.file is not None:
            yield Place(key, value.file)


def credentials(config: Config) -> Iterator[tuple[str, str]]:
    """Yield every systemd credential that the configuration names, and where."""
    for key, value in _values(config):
        if isinstance(value, Credential | Secret) and value.credential is not None:
            yield key, value.credential


def hosts(config: Config) -> list[str]:
    """Return the hosts that the service calls, as far as the configuration names them: a secret is not opened."""
    found = {urlsplit(account.base_url).hostname or "" for account in config.accounts.values()}
    if config.alerts.email is not None:
        found.add(config.alerts.email.host)
    if config.alerts.webhook is not None and isinstance(config.alerts.webhook.url, str):
        found.add(urlsplit(config.alerts.webhook.url).hostname or "")
    return sorted(found)


def has_secret_host(config: Config) -> bool:
    """Whether the service calls a host that only a secret names."""
    return config.alerts.webhook is not None and isinstance(config.alerts.webhook.url, Secret)


def _values(value: object, key: str = "") -> Iterator[tuple[str, object]]:
    """Yield each value of a configuration that holds no others, with its key."""
    inner: Iterable[tuple[Any, object]]
    if isinstance(value, BaseModel) and not isinstance(value, Credential | Secret):
        inner = iter(value)
    elif isinstance(value, Mapping):
        inner = value.items()
    elif isinstance(value, tuple):
        inner = ((None, each) for each in value)
    else:
        yield key, value
        return
    for name, each in inner:
        yield from _values(each, ".".join(filter(None, (key, None if name is None else str(name)))))


def drop_in(
    config: Config,
    *,
    addresses: Mapping[str, Sequence[str]] | None = None,
    resolvers: Sequence[str] = (),
) -> str:
    """Return the drop-in for sealdrop.service that the configuration needs; it takes the place of what is there.

    ``addresses`` are those that the hosts have now, ``resolvers`` the machine's own. Where the configuration gives
    names, these lines are comments: addresses change, and the service would be cut off.
    """
    return "\n".join(
        [
            f"# For {config.source}, by `sealdrop check --unit`. Save as",
            "# /etc/systemd/system/sealdrop.service.d/local.conf, then:",
            "# systemctl daemon-reload && systemctl restart sealdrop",
            "",
            "[Unit]",
            *_mounts(config),
            "",
            "[Service]",
            *_paths(config),
            *_credential_lines(config),
            *_stop(config),
            *_network(config, addresses or {}, resolvers),
            "",
        ]
    )


def _mounts(config: Config) -> Iterator[str]:
    yield "# Never work on the empty folder that an unmounted share leaves."
    yield from (f"RequiresMountsFor={_quoted(path)}" for path in parents(_written(config)))


def _paths(config: Config) -> Iterator[str]:
    written = parents(_written(config))
    state = config.service.state_dir
    own = Path("/var/lib", state.name) == state
    yield "# Where documents are taken from and written to. The first line takes back what the unit says."
    yield "ReadWritePaths="
    for path in written:
        if not _is_hidden(path) and not (own and path == state):
            yield f"ReadWritePaths={_quoted(path)}"
    # The mark of what may be missing: nothing waits for it.
    yield from (f"ReadWritePaths=-{_quoted(path)}" for path in _extra(config) if not _is_hidden(path))
    if own and state.name != "sealdrop":
        yield f"StateDirectory={state.name}"
    hidden = [path for path in (*written, *_extra(config)) if _is_hidden(path)]
    read = [place.path for place in places(config) if not place.is_written and _is_hidden(place.path)]
    read = [path for path in dict.fromkeys(read) if not any(path.is_relative_to(folder) for folder in hidden)]
    if hidden or read:
        yield "# Homes are hidden from services, and so are others' temporary files. These alone are brought back."
    if any(_is_below(path, _HOMES) for path in (*hidden, *read)):
        yield "ProtectHome=tmpfs"
    yield from (f"BindPaths={_bound(path)}" for path in hidden)
    yield from (f"BindReadOnlyPaths={_bound(path)}" for path in read)


def _credential_lines(config: Config) -> Iterator[str]:
    names = sorted({name for _, name in credentials(config)})
    yield "# The secrets that the configuration names: root's files, of which the service gets copies in memory."
    yield "LoadCredential="
    yield from (f"LoadCredential={name}:{CREDENTIALS / name}" for name in names)


def _stop(config: Config) -> Iterator[str]:
    needed_s = int(config.service.grace_s) + STOP_MARGIN_S
    if needed_s > UNIT_STOP_S:
        yield f"# service.grace_s is {config.service.grace_s:g}, and what follows it takes a moment."
        yield f"TimeoutStopSec={needed_s}"


def _network(config: Config, addresses: Mapping[str, Sequence[str]], resolvers: Sequence[str]) -> Iterator[str]:
    reached = hosts(config)
    are_fixed = all(_is_fixed(host) for host in reached) and not has_secret_host(config)
    allowed: list[tuple[str, Sequence[str]]] = [("localhost", ["localhost"])]
    allowed += [
        (host, [host] if _is_fixed(host) else addresses.get(host, ())) for host in reached if host != "localhost"
    ]
    if are_fixed:
        yield "# All that it speaks to has its address in the configuration: nothing else can be reached."
    else:
        yield "# To have it speak to nobody else, take the marks away; only if these addresses are promised to stay."
        yield "# When one changes, SignAPI is out of reach until it stands here. Nothing is lost, nothing sealed."
        allowed.append(("names are asked for at", resolvers))
    mark = "" if are_fixed else "#"
    yield f"{mark}IPAddressDeny=any"
    for host, known in allowed:
        if host not in known:
            yield f"# {host}:" if known else f"# {host}: no address is known here"
        yield from (f"{mark}IPAddressAllow={address}" for address in known)
    if has_secret_host(config):
        yield "# alerts.webhook.url is a secret: add the addresses of its host by hand."


def _is_fixed(host: str) -> bool:
    """Whether a host has no name that somebody must be asked about."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return True


def _written(config: Config) -> list[Path]:
    return [place.path for place in places(config) if place.is_written and not place.is_extra]


def _extra(config: Config) -> list[Path]:
    """Return what is written besides, and lies in nothing else that is written."""
    written = parents(_written(config))
    return [place.path for place in places(config) if place.is_extra and not _is_below(place.path, written)]


def _is_hidden(path: Path) -> bool:
    """Whether the unit hides it, by ProtectHome= or PrivateTmp=."""
    return _is_below(path, (*_HOMES, *_TEMPORARY))


def _is_below(path: Path, folders: Iterable[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


def parents(paths: Iterable[Path]) -> list[Path]:
    """Return the folders to name for ``paths``: a common parent of several in their place, unless others share it.

    A parent goes on showing a folder that is taken away and made anew, and one that is not there yet.
    """
    found = set(paths)
    while True:
        counted: dict[Path, set[Path]] = {}
        for path in found:
            counted.setdefault(path.parent, set()).add(path)
        common = {parent: below for parent, below in counted.items() if len(below) > 1 and _is_ours(parent)}
        if not common:
            break
        for parent, below in common.items():
            found = (found - below) | {parent}
    return sorted(path for path in found if not any(path != other and path.is_relative_to(other) for other in found))


def _is_ours(folder: Path) -> bool:
    """Whether a folder can be taken to hold nothing but what the configuration names there."""
    return len(folder.parts) > 2 and folder not in _SHARED and folder.parent not in _HOMES


def _quoted(path: Path) -> str:
    text = str(path).replace("%", "%%")
    if not any(character.isspace() or character in "\"'" for character in text):
        return text
    return f"'{text}'" if '"' in text else f'"{text}"'


def _bound(path: Path) -> str:
    """Quote a path where a colon would begin something else."""
    return _quoted(Path(str(path).replace(":", "\\:")))


def _assignments(text: str) -> Iterator[tuple[str, str]]:
    """Yield the settings of a unit's text, in order; a line that ends in a backslash goes on in the next one."""
    whole = ""
    for line in text.splitlines():
        bare = line.strip()
        if bare.startswith(("#", ";")) or (not bare and not whole):
            continue
        whole += bare.removesuffix("\\")
        if bare.endswith("\\"):
            whole += " "
            continue
        name, is_setting, value = whole.partition("=")
        whole = ""
        if is_setting and not name.startswith("["):
            yield name.strip(), value.strip()


def _words(value: str) -> list[str]:
    words = shlex.shlex(value, posix=True, punctuation_chars=False)
    words.whitespace_split, words.commenters, words.escape = True, "", ""
    try:
        return list(words)
    except ValueError:  # a quote that is not closed: systemd would not take it either
        return value.split()

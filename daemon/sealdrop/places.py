"""Where the configuration says that things are: paths, and the places of secrets.

Relative paths are relative to the configuration's file. A secret's value is in no model, message or traceback: only
its place is.
"""

import os
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Tag, ValidationInfo, model_validator

from sealdrop.errors import ConfigurationError


def _from_file(path: Path, info: ValidationInfo) -> Path:
    text = str(path)
    if text in ("", ".") or "\0" in text:
        raise ValueError("must name a file or a folder")
    base = (info.context or {}).get("base", Path.cwd())
    # Not Path.expanduser: it raises for a user who is not there, and a message about a missing folder says it better.
    return Path(os.path.normpath(base / os.path.expanduser(text)))  # noqa: PTH111


ConfiguredPath = Annotated[Path, AfterValidator(_from_file)]


class Table(BaseModel):
    """A TOML table: unknown keys are faults, values never change after reading."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)


class Secret(Table):
    """Where a secret is: exactly one of a systemd credential, a file, an environment variable."""

    credential: str | None = None
    file: ConfiguredPath | None = None
    env: str | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if sum(place is not None for place in (self.credential, self.file, self.env)) != 1:
            raise ValueError("give exactly one of credential, file, env")
        return self

    def read(self) -> str:
        """Return the secret, without a newline at its end.

        Raises:
            ConfigurationError: it is not where it should be; the message names the place, never the secret.
        """
        if self.env is not None:
            value = os.environ.get(self.env)
            if value is None:
                raise ConfigurationError("secret", [f"the environment variable {self.env} is not set"])
            return value.rstrip("\r\n")
        path = self.file if self.file is not None else credential_path(self.credential or "")
        try:
            return path.read_text(encoding="utf-8").rstrip("\r\n")
        except OSError as error:
            raise ConfigurationError("secret", [f"cannot read the secret in {path}: {error.strerror}"]) from error
        except UnicodeDecodeError:
            # Not "from" it: the error would carry the secret along.
            raise ConfigurationError("secret", [f"the secret in {path} is not UTF-8 text"]) from None


def credential_path(name: str) -> Path:
    """Return where systemd puts the credential ``name`` (systemd.exec(5), LoadCredential=).

    Raises:
        ConfigurationError: this process was given no credentials.
    """
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if folder is None:
        raise ConfigurationError("secret", [f"no systemd credentials here, so there is no credential {name!r}"])
    return Path(folder) / name


class Credential(Table):
    """A systemd credential in the place of a file."""

    credential: str


def _form(value: object) -> str:
    return "<table>" if isinstance(value, dict | Credential) else "<path>"


# The tags choose by form, so that a fault is told once; they are no part of its place.
FileOrCredential = Annotated[
    Annotated[ConfiguredPath, Tag("<path>")] | Annotated[Credential, Tag("<table>")], Discriminator(_form)
]


def path_of(place: Path | Credential) -> Path:
    """Return the path of a file that the configuration names directly or as a systemd credential.

    Raises:
        ConfigurationError: it is a credential, and this process was given none.
    """
    return credential_path(place.credential) if isinstance(place, Credential) else place

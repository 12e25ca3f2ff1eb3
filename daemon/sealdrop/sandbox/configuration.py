"""Writes the configuration that makes the daemon work with this sandbox, and respects what was made of it.

The file is written when there is none. Later only one thing in it is ever touched: the line with the account's address,
if it still is the very line that a sandbox on another port wrote. Everything else belongs to the reader.
"""

from pathlib import Path

from sealdrop.sandbox import files
from sealdrop.sandbox.app import DEFAULT_ARCHIVER
from sealdrop.sandbox.pki import ORGANISATION

FILE_NAME = "sealdrop.toml"

_TEMPLATE = """\
# sealdrop with the local sandbox: made by `sealdrop sandbox`, yours to change.
# Paths are relative to this file. Every key is explained in config.example.toml.

[service]
state_dir = "state/daemon"
# These seals are worth nothing, so they may be kept anywhere, in memory even.
allow_unsafe_state = true
create_folders = true

[accounts.sandbox]
{address}
certificate = "pki/client.p12"
passphrase = {{ file = "pki/client.passphrase" }}
ca_file = "pki/root.pem"
organisation = "{organisation}"
trust_anchors = ["pki/root.pem"]
# The sandbox is near and quick: ask often, give up soon.
connect_timeout_s = 5
read_timeout_s = 15
call_timeout_s = 20
poll_first_s = 0.3
poll_longest_s = 2
retry_first_s = 0.5
retry_longest_s = 5
ask_after_s = 1
sign_again_after_s = 30
refused_alone_s = 5

# Invoices: sealed for the long term, and deposited in the archive.
[folders.invoices]
account = "sandbox"
inbound = "invoices/inbound"
outbound = "invoices/outbound"
rejected = "invoices/rejected"
failed = "invoices/failed"
sweep_s = 2
settle_s = 1

[folders.invoices.seal]
level = "PAdES_BASELINE_LTA"
archive = true
archivers = ["{archiver}"]

# Contracts: a plain seal, no archive.
[folders.contracts]
account = "sandbox"
inbound = "contracts/inbound"
outbound = "contracts/outbound"
rejected = "contracts/rejected"
failed = "contracts/failed"
sweep_s = 2
settle_s = 1

[folders.contracts.seal]
level = "PAdES_BASELINE_B"
archive = false
"""


def address(port: int) -> str:
    """Return the sandbox's base URL."""
    return f"https://localhost:{port}"


def ensure(directory: Path, port: int, previous_port: int | None) -> Path:
    """Make sure that there is a configuration in ``directory``, and that it follows the sandbox to ``port``.

    ``previous_port`` is where the last sandbox of this directory was.
    """
    path = directory / FILE_NAME
    line = _address_line(port)
    if not path.exists():
        text = _TEMPLATE.format(address=line, organisation=ORGANISATION, archiver=DEFAULT_ARCHIVER)
        files.write(path, text.encode())
    elif previous_port is not None and previous_port != port:
        text = path.read_text(encoding="utf-8")
        moved = "\n".join(line if old == _address_line(previous_port) else old for old in text.split("\n"))
        if moved != text:
            files.write(path, moved.encode())
    return path


def _address_line(port: int) -> str:
    return f'base_url = "{address(port)}"'

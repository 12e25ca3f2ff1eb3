"""What a systemd unit keeps from the service, and the drop-in that a configuration needs."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sealdrop.checks.unit import Unit, blocked, credentials, drop_in, hosts, parents, places
from sealdrop.config import Config, Email, Webhook, load

TREE = Path(__file__).parents[3]
UNIT = TREE / "systemd" / "sealdrop.service"
SHIPPED = UNIT.read_text()
EXAMPLE = TREE / "config.example.toml"


def _config(tmp_path: Path, **changes: str) -> Config:
    """The example with other paths: each of ``changes`` replaces a value, wherever it stands."""
    text = EXAMPLE.read_text()
    for before, after in {
        "client.p12": "/etc/sealdrop/client.p12",
        "certeurope-root.pem": "/etc/sealdrop/certeurope-root.pem",
        **changes,
    }.items():
        assert f'"{before}' in text, before
        text = text.replace(f'"{before}', f'"{after}')
    path = tmp_path / "sealdrop.toml"
    path.write_text(text)
    # Where it is does not matter here, and a test's folder is a temporary one.
    return load(path).model_copy(update={"source": Path("/etc/sealdrop/sealdrop.toml")})


def _keys(config: Config, *units: str) -> set[str]:
    return {each.key for each in blocked(config, *units)}


def test_the_unit_fits_the_example(tmp_path: Path) -> None:
    """With the unit as it is, the example's folders, keys and credentials are there for the service."""
    config = _config(tmp_path)
    assert blocked(config, SHIPPED, programs=[Path("/opt/sealdrop")]) == []
    assert len(list(places(config))) == 8


FOLDERS = {f"folders.invoices.{name}" for name in ("inbound", "outbound", "rejected", "failed")}


@pytest.mark.parametrize(
    ("settings", "keys"),
    [
        ("", set[str]()),
        ("ProtectSystem=true", set[str]()),
        ("ProtectSystem=full", set[str]()),
        ("ProtectSystem=strict", FOLDERS | {"service.state_dir"}),
        ("ProtectSystem=strict\nReadWritePaths=/srv/sealdrop /var/lib", set[str]()),
        ("ProtectSystem=strict\nReadWritePaths=/srv/sealdrop\nStateDirectory=sealdrop", set[str]()),
        ("ProtectSystem=strict\nReadWritePaths=-/srv \\\n  '/var'", set[str]()),
        ("ProtectSystem=strict\nReadWritePaths=/srv/seal /var", FOLDERS),
        ("ProtectSystem=strict\nReadWritePaths=/srv /var\nReadWritePaths=\nReadWritePaths=/var", FOLDERS),
        ("ReadOnlyPaths=/srv\nReadWritePaths=/srv", FOLDERS),
        ("ReadOnlyPaths=/srv/sealdrop\nReadWritePaths=/srv", FOLDERS),
        ("ReadOnlyPaths=/srv\nReadWritePaths=/srv/sealdrop", set[str]()),
        ("InaccessiblePaths=/srv\nReadWritePaths=/srv/sealdrop", FOLDERS),
        ("InaccessiblePaths=/srv\nBindPaths=/srv/sealdrop", FOLDERS),
        ("TemporaryFileSystem=/srv:ro\nReadWritePaths=/srv/sealdrop", FOLDERS),
        ("TemporaryFileSystem=/srv\nBindPaths=/srv/sealdrop", set[str]()),
        ("TemporaryFileSystem=/srv\nBindPaths=/mnt/there:/srv/sealdrop:rbind", set[str]()),
        ("TemporaryFileSystem=/srv\nBindReadOnlyPaths=/srv/sealdrop", FOLDERS),
        ("BindPaths=/srv\nInaccessiblePaths=-/srv/sealdrop/invoices/inbound", {"folders.invoices.inbound"}),
        (
            "InaccessiblePaths=/etc/sealdrop",
            {"the configuration", "accounts.main.certificate", "accounts.main.trust_anchors"},
        ),
        ("# InaccessiblePaths=/srv\n; ReadOnlyPaths=/srv", set[str]()),
    ],
)
def test_each_setting_that_blocks_is_told(tmp_path: Path, settings: str, keys: set[str]) -> None:
    """What a unit's settings hide or make read-only is found by the keys that name it, and nothing else is."""
    unit = f"[Service]\nLoadCredential=client-passphrase:/there\n{settings}\n"
    assert _keys(_config(tmp_path), unit) == keys


def test_a_line_says_what_and_why_and_what_to_do(tmp_path: Path) -> None:
    """Key, path, the setting that is to blame, and the setting that helps."""
    lines = [str(each) for each in blocked(_config(tmp_path, **{"/srv/sealdrop/invoices/failed": "/data/f"}), SHIPPED)]
    line = (
        "folders.invoices.failed: /data/f would be read-only for the service (the unit's ProtectSystem=strict): "
        "ReadWritePaths=/data/f, or use the drop-in"
    )
    assert lines == [line]


def test_a_program_in_a_home_is_told(tmp_path: Path) -> None:
    """What pipx installs for root by default is not there for a service."""
    (line,) = blocked(_config(tmp_path), SHIPPED, programs=[Path("/root/.local/share/pipx/venvs/sealdrop")])
    assert (line.key, line.setting) == ("the program", "ProtectHome=true")


def test_links_are_followed_if_asked(tmp_path: Path) -> None:
    """A folder that is a link into a home is hidden like the home."""
    homes = {Path("/srv/sealdrop/invoices/inbound"): Path("/home/claire/inbound")}
    found = blocked(_config(tmp_path), SHIPPED, resolve=lambda path: homes.get(path, path))
    assert [each.key for each in found] == ["folders.invoices.inbound"]


def test_credentials_that_are_not_loaded_are_told(tmp_path: Path) -> None:
    """A credential that the configuration names and no setting loads is a line of its own."""
    config = _config(tmp_path)
    assert list(credentials(config)) == [("accounts.main.passphrase", "client-passphrase")]
    (line,) = blocked(config, SHIPPED, "[Service]\nLoadCredential=\nLoadCredential=other:/there")
    assert line.key == "accounts.main.passphrase"
    assert blocked(config, SHIPPED, "[Service]\nLoadCredential=\nSetCredential=client-passphrase:x") == []


ELSEWHERE = [
    {"/srv/sealdrop/invoices": "/mnt/scans"},
    {"/srv/sealdrop/invoices/inbound": "/home/claire/to seal", "/srv/sealdrop/invoices/failed": "/tmp/failed"},  # noqa: S108
    {"/var/lib/sealdrop": "/data/50%/state", "/etc/sealdrop/client.p12": "/root/keys/client.p12"},
    {"/var/lib/sealdrop": "/var/lib/sealdrop-test", "client-passphrase": "other.passphrase"},
    {"/srv/sealdrop/invoices/inbound": "/home/claire/a:b", "/srv/sealdrop/invoices/outbound": "/home/claire/it's out"},
]


@pytest.mark.parametrize("changes", ELSEWHERE)
def test_the_drop_in_takes_every_block_away(tmp_path: Path, changes: dict[str, str]) -> None:
    """Whatever the unit would keep from a configuration, with the drop-in for it nothing is left."""
    config = _config(tmp_path, **changes)
    assert blocked(config, SHIPPED) != []
    assert blocked(config, SHIPPED, drop_in(config)) == []


@pytest.mark.parametrize("changes", [{}, *ELSEWHERE])
def test_systemd_takes_unit_and_drop_in(tmp_path: Path, changes: dict[str, str]) -> None:
    """Nothing in them is unknown to systemd, and the service is exposed no more than was promised: 1.2 of 10.

    Homes that are empty in place of closed, so that a folder can be brought back, count a little.
    """
    unit = tmp_path / "unit" / UNIT.name
    folder = unit.with_name(f"{UNIT.name}.d")
    folder.mkdir(parents=True)
    unit.write_text(SHIPPED.replace("/opt/sealdrop/bin/sealdrop", sys.executable))
    (folder / "local.conf").write_text(drop_in(_config(tmp_path, **changes)))
    assert _analyzed("verify", unit) == ""
    promised = 13 if "ProtectHome=tmpfs" in (folder / "local.conf").read_text() else 12
    assert "Overall exposure" in _analyzed("security", "--offline=true", f"--threshold={promised}", unit)


def test_systemd_takes_the_example_of_a_drop_in(tmp_path: Path) -> None:
    """Each line of the example that is installed with the unit is one that systemd knows."""
    unit = tmp_path / UNIT.name
    unit.write_text(SHIPPED.replace("/opt/sealdrop/bin/sealdrop", sys.executable))
    shutil.copytree(TREE / "systemd" / "sealdrop.service.d", tmp_path / "sealdrop.service.d")
    (tmp_path / "sealdrop.service.d/local.conf.example").rename(tmp_path / "sealdrop.service.d/local.conf")
    assert _analyzed("verify", unit) == ""


def _analyzed(*arguments: str | Path) -> str:
    if shutil.which("systemd-analyze") is None:
        if os.environ.get("CI"):
            pytest.fail("systemd-analyze is missing (Debian: systemd), and CI must not do without")
        pytest.skip("systemd-analyze is not installed (Debian: systemd)")
    ended = subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"}
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


def test_folders_are_named_by_a_parent_that_is_theirs() -> None:
    """Several folders are named by what they have in common, but never by a folder that holds others' things too."""
    assert parents([Path("/srv/s/a/in"), Path("/srv/s/a/out"), Path("/srv/s/b/in"), Path("/srv/s/b/out")]) == [
        Path("/srv/s")
    ]
    apart = [Path("/home/a/in"), Path("/home/a/out"), Path("/mnt/in"), Path("/srv/in"), Path("/srv/out")]
    assert parents(apart) == apart
    assert parents([Path("/var/lib/in"), Path("/var/lib/out")]) == [Path("/var/lib/in"), Path("/var/lib/out")]
    assert parents([Path("/mnt/s/in"), Path("/mnt/s/out"), Path("/mnt/s/out/june")]) == [Path("/mnt/s")]


def test_only_addresses_that_are_promised_are_enforced(tmp_path: Path) -> None:
    """Names in the configuration make the list a proposal; with addresses alone, nothing else can be reached."""
    name, address = "https://sign-sandbox.certeurope.fr", "https://192.0.2.1:8443"
    proposed = drop_in(
        _config(tmp_path), addresses={"sign-sandbox.certeurope.fr": ["192.0.2.7"]}, resolvers=["192.0.2.53"]
    )
    assert hosts(_config(tmp_path)) == ["sign-sandbox.certeurope.fr"]
    assert (
        "\n#IPAddressDeny=any\n#IPAddressAllow=localhost\n# sign-sandbox.certeurope.fr:\n#IPAddressAllow=192.0.2.7\n"
        in proposed
    )
    assert "\n#IPAddressAllow=192.0.2.53\n" in proposed
    enforced = drop_in(_config(tmp_path, **{name: address}), resolvers=["192.0.2.53"])
    assert "\nIPAddressDeny=any\nIPAddressAllow=localhost\nIPAddressAllow=192.0.2.1\n" in enforced
    assert "192.0.2.53" not in enforced
    unknown = drop_in(_config(tmp_path))
    assert "# sign-sandbox.certeurope.fr: no address is known here" in unknown


def test_a_longer_grace_time_has_a_longer_stop(tmp_path: Path) -> None:
    """A service that finishes its work within service.grace_s is not killed meanwhile."""
    config = _config(tmp_path)
    assert "TimeoutStopSec" not in drop_in(config)
    patient = config.model_copy(update={"service": config.service.model_copy(update={"grace_s": 90.0})})
    assert "\nTimeoutStopSec=130\n" in drop_in(patient)
    assert Unit(SHIPPED).last("TimeoutStopSec") == "60"


def test_originals_and_figures_are_written_too(tmp_path: Path) -> None:
    """The folder for originals is needed; that of the text file is wanted, and no start waits for it."""
    config = _config(tmp_path)
    folder = config.folders["invoices"].model_copy(update={"processed": Path("/data/processed")})
    metrics = config.metrics.model_copy(update={"textfile": Path("/var/lib/node exporter/sealdrop.prom")})
    config = config.model_copy(update={"folders": {"invoices": folder}, "metrics": metrics})
    found = {each.key: each.what for each in blocked(config, SHIPPED)}
    assert found == {
        "folders.invoices.processed": "/data/processed would be read-only for the service",
        "metrics.textfile": "/var/lib/node exporter would be read-only for the service",
    }
    needed = drop_in(config)
    assert "\nReadWritePaths=/data/processed\n" in needed
    assert '\nReadWritePaths=-"/var/lib/node exporter"\n' in needed
    assert 'RequiresMountsFor="/var/lib/node' not in needed
    assert blocked(config, SHIPPED, needed) == []


def test_hosts_of_the_alerts_are_reached(tmp_path: Path) -> None:
    """A mail server and a webhook are called as well; where only a secret has the address, nothing is enforced."""
    config = _config(tmp_path, **{"https://sign-sandbox.certeurope.fr": "https://192.0.2.1"})
    email = Email.model_validate({"host": "192.0.2.25", "from": "a@example.com", "to": ["b@example.com"]})
    hook = Webhook.model_validate({"url": "https://198.51.100.7:8443/hook"})
    alerts = config.alerts.model_copy(update={"email": email, "webhook": hook})
    config = config.model_copy(update={"alerts": alerts})
    assert hosts(config) == ["192.0.2.1", "192.0.2.25", "198.51.100.7"]
    assert "\nIPAddressAllow=192.0.2.25\nIPAddressAllow=198.51.100.7\n" in drop_in(config)
    secret = Webhook.model_validate({"url": {"credential": "webhook-url"}})
    config = config.model_copy(update={"alerts": alerts.model_copy(update={"webhook": secret})})
    assert "\n#IPAddressDeny=any\n" in drop_in(config)
    assert "alerts.webhook.url is a secret" in drop_in(config)
    assert "\nLoadCredential=webhook-url:/etc/sealdrop/credentials/webhook-url\n" in drop_in(config)


def test_a_credential_without_its_file_is_told(tmp_path: Path) -> None:
    """Systemd does not start a service whose credential's file is missing, and says so in a number only."""
    (line,) = blocked(_config(tmp_path), SHIPPED, is_there=lambda _: False)
    assert line.what.startswith("/etc/sealdrop/credentials/client-passphrase is not there")
    given = "[Service]\nLoadCredential=\nSetCredential=client-passphrase:x"
    assert blocked(_config(tmp_path), SHIPPED, given, is_there=lambda _: False) == []

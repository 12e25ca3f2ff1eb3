"""The configuration."""

import re
from pathlib import Path

import pytest

from sealdrop.config import DEFAULT_RULES, FIXED_RULES, Config, load
from sealdrop.errors import ConfigurationError
from sealdrop.model import Reason, SealLevel
from sealdrop.places import Secret

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"

MINIMAL = """
[service]
state_dir = "state"
[accounts.main]
base_url = "https://signapi.example"
certificate = "client.p12"
organisation = "Example SAS"
trust_anchors = ["root.pem"]
[folders.invoices]
account = "main"
inbound = "in"
outbound = "out"
rejected = "rejected"
failed = "failed"
"""


def _load(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "sealdrop.toml"
    path.write_text(text)
    return load(path)


def _problems(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        _load(tmp_path, text)
    return "\n".join(caught.value.problems)


def test_the_example_loads() -> None:
    """config.example.toml is a configuration that can be used."""
    config = load(EXAMPLE)
    assert config.account_of("invoices").organisation == "Example SAS"
    assert config.folders["invoices"].seal.level is SealLevel.LTA


# A commented line of the example that is a key with its default, not a sentence.
COMMENTED_KEY = re.compile(r'^# ([a-zA-Z_]+ = (?:"[^"]*"|\d[\d_.]*|true|false|\[.*\]))$', re.MULTILINE)
WITHOUT_DEFAULT = ("key", "ca_file", "image", "text")


def test_the_defaults_in_the_example_are_the_true_ones() -> None:
    """With every commented-out key uncommented the example means the same: what it calls defaults are the defaults."""
    text = EXAMPLE.read_text()

    def uncomment(match: re.Match[str]) -> str:
        key = match[1].split(" = ")[0]
        return match[0] if key in WITHOUT_DEFAULT else match[1]

    text = re.sub(r"^# (\[accounts\.main\.paths\])$", r"\1", text, flags=re.MULTILINE)
    before_visible, visible, after = text.partition("# [folders.invoices.seal.visible]")
    seen, _, rest = after.partition("# Which PDFs are accepted.")
    uncommented = COMMENTED_KEY.sub(uncomment, before_visible) + COMMENTED_KEY.sub(uncomment, rest)
    assert visible
    assert seen.count("\n# ") >= 8
    assert len(COMMENTED_KEY.findall(text)) > 45
    path = EXAMPLE.with_name("config.example.toml")
    plain = load(path)
    import tomllib

    full = Config.model_validate({**tomllib.loads(uncommented), "source": path}, context={"base": path.parent})
    assert full.accounts == plain.accounts
    assert full.service == plain.service
    folder = full.folders["invoices"]
    assert folder.model_copy(update={"validation": plain.folders["invoices"].validation}) == plain.folders["invoices"]
    assert {code: folder.validation.rule(code) for code in Reason} == {
        code: plain.folders["invoices"].validation.rule(code) for code in Reason
    }
    assert set(folder.validation.rules) == set(DEFAULT_RULES)


def test_every_key_is_in_the_example() -> None:
    """The example names every key that there is."""
    from sealdrop import config

    tables = (
        config.Service,
        config.Account,
        config.Paths,
        config.Folder,
        config.Seal,
        config.VisibleSeal,
        config.SealLine,
        config.Validation,
    )
    text = EXAMPLE.read_text()
    keys = {key for table in tables for key in table.model_fields}
    missing = {key for key in keys if not re.search(rf"^(# )?(\[.*)?\b{key}\b", text, re.MULTILINE)}
    assert missing == set()


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    """Relative paths mean files and folders beside the configuration; absolute ones stay."""
    config = _load(tmp_path, MINIMAL.replace('"out"', '"/elsewhere/out"'))
    assert config.service.state_dir == tmp_path / "state"
    assert config.accounts["main"].trust_anchors == (tmp_path / "root.pem",)
    assert config.folders["invoices"].outbound == Path("/elsewhere/out")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("[service]", "[service]\nstate_dri = 1", "service.state_dri: unknown key"),
        ("[accounts.main]", "[accounts.main]\nverify = false", "accounts.main.verify: unknown key"),
        ('organisation = "Example SAS"\n', "", "accounts.main.organisation: missing"),
        ("https://signapi", "http://signapi", "accounts.main.base_url: must be an https:// address"),
        ("https://signapi.example", "https://me:pw@signapi.example", "accounts.main.base_url: must be"),
        ("[folders.invoices]", "[folders.invoices]\nsettle_s = 0", "folders.invoices.settle_s: "),
        ("[folders.invoices]", "[folders.invoices]\nsettle_s = 'x'", "folders.invoices.settle_s: "),
        ('account = "main"', 'account = "mian"', "folders.invoices.account: there is no account 'mian'"),
        ('outbound = "out"', 'outbound = "in/out"', "folders.invoices.outbound: "),
        ('state_dir = "state"', 'state_dir = "in"', "service.state_dir: "),
        ("[accounts.main]", "[accounts.main]\ncall_timeout_s = 500", "sign_again_after_s must be longer"),
        (
            "[accounts.main]",
            "[accounts.main]\npaths = { create = 'x' }",
            "accounts.main.paths.create: must start with /",
        ),
        ("[accounts.main]", "[accounts.main]\npassphrase = 'hunter2'", "accounts.main.passphrase: "),
        ("[accounts.main]", "[accounts.main]\npassphrase = { env = 'A', file = 'b' }", "give exactly one"),
        ("[folders.invoices]", "[folders.Invoices]", "folders.Invoices"),
        (
            "[folders.invoices]",
            "[folders.invoices.validation.rules]\nNOT_PDF = 'warn'\n[folders.invoices]",
            "NOT_PDF is always rejected",
        ),
        (
            "[folders.invoices]",
            "[folders.invoices.seal]\nlevel = 'PAdES_BASELINE_X'\n[folders.invoices]",
            "folders.invoices.seal.level: ",
        ),
        ("[folders.invoices]", "[folders.invoices.seal]\ndigest = 'SHA224'\n[folders.invoices]", "seal.digest: "),
        ("[service]", "[service", "is not TOML"),
        ("[service]", "source = 'x'\n[service]", "source: unknown key"),
    ],
)
def test_a_fault_is_told_with_its_place(tmp_path: Path, old: str, new: str, expected: str) -> None:
    """Each kind of fault is refused, in words that name the key."""
    assert MINIMAL.count(old) == 1
    assert expected in _problems(tmp_path, MINIMAL.replace(old, new))


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    """Several faults in several tables come in one error, a line each."""
    text = MINIMAL.replace("[service]", "[service]\nx = 1").replace("https:", "http:").replace('"in"', "5")
    problems = _problems(tmp_path, text).splitlines()
    assert len(problems) == 3
    assert {problem.split(":")[0] for problem in problems} == {
        "service.x",
        "accounts.main.base_url",
        "folders.invoices.inbound",
    }


def test_no_fault_repeats_a_value(tmp_path: Path) -> None:
    """A secret that was put where it does not belong is not printed in the error about it."""
    text = MINIMAL.replace("[accounts.main]", "[accounts.main]\npassphrase = 'hunter2-hunter2'")
    assert "hunter2" not in _problems(tmp_path, text)


def test_secrets_are_read_from_their_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret comes from a file, an environment variable or a systemd credential, less the newline at its end."""
    (tmp_path / "secret").write_text("s3cret\n")
    monkeypatch.setenv("THE_SECRET", "s3cret")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    for place in ({"file": tmp_path / "secret"}, {"env": "THE_SECRET"}, {"credential": "secret"}):
        secret = Secret.model_validate(place)
        assert secret.read() == "s3cret"
        assert "s3cret" not in repr(secret)


@pytest.mark.parametrize("place", [{"file": "/nonexistent/secret"}, {"env": "NOT_SET_ANYWHERE"}, {"credential": "x"}])
def test_a_missing_secret_is_named(place: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret that is not where it should be is an error that names the place."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    (value,) = place.values()
    with pytest.raises(ConfigurationError, match=re.escape(value)):
        Secret.model_validate(place).read()


def test_fixed_rules_cannot_be_changed_and_the_others_can() -> None:
    """No code is both fixed and changeable, and every code about a document is one of them or follows a limit."""
    assert not FIXED_RULES & set(DEFAULT_RULES)
    about_documents = set(list(Reason)[: list(Reason).index(Reason.SYMLINK)])
    assert about_documents - FIXED_RULES - set(DEFAULT_RULES) == {Reason.TOO_LARGE}


def test_the_example_names_no_real_place() -> None:
    """The example's state lives where the unit puts it."""
    assert load(EXAMPLE).service.state_dir == Path("/var/lib/sealdrop")
    assert load(EXAMPLE).folders["invoices"].inbound.is_absolute()

"""The configuration."""

import re
import tomllib
from pathlib import Path

import pytest

from sealdrop import config
from sealdrop.config import DEFAULT_RULES, FIXED_RULES, Config, Email, SealLine, VisibleSeal, Webhook, load
from sealdrop.errors import ConfigurationError
from sealdrop.model import Reason, SealLevel
from sealdrop.places import Secret
from unit_config import CONFIG

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"

MAIL = "host = 'mail.example'\nfrom = 'sealdrop@example.com'\n"


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
    example = load(EXAMPLE)
    assert example.account_of("invoices").organisation == "Example SAS"
    assert example.folders["invoices"].seal.level is SealLevel.LTA


# A commented line of the example that is a key with its default, not a sentence.
COMMENTED_KEY = re.compile(r'^# ([a-zA-Z_]+ = (?:"[^"]*"|\d[\d_.]*|true|false|\[.*\]))$', re.MULTILINE)


def test_the_defaults_in_the_example_are_the_true_ones() -> None:
    """With every commented-out key uncommented the example means the same: what it calls defaults are the defaults."""
    text = EXAMPLE.read_text()
    text = re.sub(r"^# (\[accounts\.main\.(?:paths|visible_units)\])$", r"\1", text, flags=re.MULTILINE)
    # These tables are not there by default: what is missing in them has no default. Their other keys have.
    before_tables, tables, after_tables = text.partition("# By e-mail.")
    channels, line, rest_of_text = after_tables.partition("# ------")
    text = before_tables + line + rest_of_text
    mail, _, hook = COMMENTED_KEY.sub(r"\1", channels).partition("# [alerts.webhook]")
    mail_keys, hook_keys = tomllib.loads(mail), tomllib.loads(hook)
    given: dict[str, object] = {"host": "a", "from": "a@b", "to": ["a@b"]}
    assert Email.model_validate({**given, **mail_keys}) == Email.model_validate(given)
    assert Webhook.model_validate({"url": "https://a", **hook_keys}) == Webhook.model_validate({"url": "https://a"})
    assert tables
    assert (set(mail_keys), set(hook_keys)) == ({"security", "timeout_s"}, {"format", "timeout_s"})
    before_visible, visible, after = text.partition("# [folders.invoices.seal.visible]")
    seen, _, rest = after.partition("# Which PDFs are accepted.")
    uncommented = COMMENTED_KEY.sub(r"\1", before_visible) + COMMENTED_KEY.sub(r"\1", rest)
    assert visible
    assert len(COMMENTED_KEY.findall(text)) > 50
    path = EXAMPLE
    plain = load(path)
    full = Config.model_validate({**tomllib.loads(uncommented), "source": path}, context={"base": path.parent})
    assert full.accounts == plain.accounts
    assert full.service == plain.service
    assert full.metrics == plain.metrics
    assert full.alerts == plain.alerts
    folder = full.folders["invoices"]
    assert folder.model_copy(update={"validation": plain.folders["invoices"].validation}) == plain.folders["invoices"]
    assert {code: folder.validation.rule(code) for code in Reason} == {
        code: plain.folders["invoices"].validation.rule(code) for code in Reason
    }
    assert set(folder.validation.rules) == set(DEFAULT_RULES)
    # The visible seal is a table that is not there by default; its keys have defaults all the same.
    shown = tomllib.loads(COMMENTED_KEY.sub(r"\1", seen.replace("# [[folders.invoices.seal.visible.lines]]", "[line]")))
    size = {"width_mm": 60, "height_mm": 20}
    shown_defaults = {key: shown[key] for key in ("page", "corner", "x_mm", "y_mm")}
    assert VisibleSeal.model_validate(size | shown_defaults) == VisibleSeal.model_validate(size)
    assert SealLine.model_validate({"text": "a", **shown["line"]}) == SealLine(text="a")


def test_every_key_is_in_the_example() -> None:
    """The example names every key that there is."""
    tables = (
        config.Service,
        config.Metrics,
        config.Alerts,
        config.Email,
        config.Webhook,
        config.Account,
        config.Paths,
        config.Folder,
        config.Seal,
        config.VisibleUnits,
        config.VisibleSeal,
        config.SealLine,
        config.Validation,
    )
    text = EXAMPLE.read_text()
    keys = {field.alias or key for table in tables for key, field in table.model_fields.items()}
    missing = {key for key in keys if not re.search(rf"^(# )?(\[.*)?\b{key}\b", text, re.MULTILINE)}
    assert missing == set()


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    """Relative paths mean files and folders beside the loadeduration; absolute ones stay."""
    loaded = _load(tmp_path, CONFIG.replace('"out"', '"/elsewhere/out"'))
    assert loaded.service.state_dir == tmp_path / "state"
    assert loaded.accounts["main"].trust_anchors == (tmp_path / "root.pem",)
    assert loaded.folders["invoices"].outbound == Path("/elsewhere/out")


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
        ('"client.p12"', "5", "accounts.main.certificate: must be a path"),
        ('"client.p12"', "{ credential = 5 }", "accounts.main.certificate.credential: "),
        ('"client.p12"', "{ name = 'x' }", "accounts.main.certificate.name: unknown key"),
        ('"in"', '""', "folders.invoices.inbound: must name"),
        ('"in"', '"a\\u0000b"', "folders.invoices.inbound: must name"),
        ("https://signapi.example", "https://signapi.example:99999", "accounts.main.base_url: "),
        ("https://signapi.example", "https://sign api.example", "accounts.main.base_url: must be"),
        (
            "[folders.invoices]",
            "[folders.invoices.validation.rules]\nNO_SUCH_RULE = 'warn'\n[folders.invoices]",
            "folders.invoices.validation.rules.NO_SUCH_RULE: unknown key",
        ),
        (
            "[folders.invoices]",
            "[[folders.invoices.seal.visible.lines]]\ntext = 'a'\nx_px = nan\n[folders.invoices]",
            "folders.invoices.seal.visible.lines.0.x_px: ",
        ),
        (
            "[folders.invoices]",
            "[folders.invoices.seal.visible]\nimage = 'a.png'\npage = 0\n[folders.invoices]",
            'folders.invoices.seal.visible.page: must be "first", "last" or a number',
        ),
        (
            "[folders.invoices]",
            "[folders.invoices.seal.visible]\nimage = 'a.png'\nwidth_mm = 10\n[folders.invoices]",
            "folders.invoices.seal.visible: an image has its own size",
        ),
        (
            "[folders.invoices]",
            "[folders.invoices.seal.visible]\nwidth_mm = 10\n[folders.invoices]",
            "folders.invoices.seal.visible: give image, or else width_mm and height_mm",
        ),
        (
            "[accounts.main]",
            "[accounts.main]\nvisible_units = { units_per_point = 0 }",
            "accounts.main.visible_units.units_per_point: ",
        ),
        ('state_dir = "state"', 'state_dir = "out/state"', "service.state_dir: "),
        ('inbound = "in"', 'inbound = "failed/in"', "folders.invoices.inbound: "),
        ("[service]", "source = 'x'\n[service]", "source: unknown key"),
        ("[service]", "[service]\ntime_zone = 'Europe/Pariss'", "service.time_zone: there is no time zone"),
        ("[service]", "[service]\ntime_zone = '../../etc/passwd'", "service.time_zone: there is no time zone"),
        ("[folders.invoices]", "[folders.invoices]\nhours = ['22-6']", "folders.invoices.hours: '22-6' is not"),
        (
            "[folders.invoices]",
            "[folders.invoices]\noutbound_name = '{x}'",
            "folders.invoices.outbound_name: {x} is no",
        ),
        ("[folders.invoices]", "[folders.invoices]\ndaily_quota = 0", "folders.invoices.daily_quota: "),
        ("[folders.invoices]", "[folders.invoices]\nkeep_failed_days = 0", "folders.invoices.keep_failed_days: "),
        ("[folders.invoices]", "[folders.invoices]\nkeep_processed_days = 3", "keep_processed_days needs processed"),
        ("[folders.invoices]", "[folders.invoices]\nprocessed = 'in/x'", "folders.invoices.processed: "),
        ("[folders.invoices]", "[folders.invoices]\nprocessed = 'out/x'", "taken for a sealed document"),
        ('outbound = "out"', 'outbound = "x/out"\nprocessed = "x"', "taken for a sealed document"),
        ("[service]", "[metrics]\nlisten = '0.0.0.0:9464'\n[service]", "metrics.listen: must be a loopback address"),
        ("[service]", "[metrics]\nlisten = '127.0.0.1'\n[service]", "metrics.listen: must be a loopback address"),
        ("[service]", "[metrics]\nlisten = '127.0.0.1:99999'\n[service]", "metrics.listen: "),
        ("[service]", "[metrics]\nlisten = '127.0.0.1:1/x'\n[service]", "metrics.listen: "),
        ("[service]", "[alerts]\nswitched_off = ['rain']\n[service]", "alerts.switched_off.0: "),
        ("[service]", f"[alerts.email]\n{MAIL}to = []\n[service]", "alerts.email.to: "),
        ("[service]", f"[alerts.email]\n{MAIL}to = ['a@b\\nBcc: c@d']\n[service]", "alerts.email.to.0: "),
        ("[service]", f"[alerts.email]\n{MAIL}to = ['a@b']\nuser = 'x'\n[service]", "user and password go together"),
        (
            "[service]",
            f"[alerts.email]\n{MAIL}to = ['a@b']\nuser = 'x'\npassword = {{env = 'P'}}\nsecurity = 'none'\n[service]",
            "a password is sent only with",
        ),
        ("[service]", "[alerts.webhook]\nurl = 'http://elsewhere/'\n[service]", "alerts.webhook.url: must be an https"),
        ("[service]", "[alerts.webhook]\nurl = {env = 'A', file = 'b'}\n[service]", "alerts.webhook.url: give exactly"),
        ("[service]", "[alerts.webhook]\nurl = 'https://a'\nheaders = {'a b' = {env = 'A'}}\n[service]", "headers"),
    ],
)
def test_a_fault_is_told_with_its_place(tmp_path: Path, old: str, new: str, expected: str) -> None:
    """Each kind of fault is refused, in words that name the key."""
    assert CONFIG.count(old) == 1
    assert expected in _problems(tmp_path, CONFIG.replace(old, new))


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    """Several faults in several tables come in one error, a line each."""
    text = CONFIG.replace("[service]", "[service]\nx = 1").replace("https:", "http:").replace('"in"', "5")
    problems = _problems(tmp_path, text).splitlines()
    assert len(problems) == 3
    assert {problem.split(":")[0] for problem in problems} == {
        "service.x",
        "accounts.main.base_url",
        "folders.invoices.inbound",
    }


def test_no_fault_repeats_a_value(tmp_path: Path) -> None:
    """A secret that was put where it does not belong is not printed in the error about it."""
    text = CONFIG.replace("[accounts.main]", "[accounts.main]\npassphrase = 'hunter2-hunter2'")
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


def test_every_fixed_rule_that_was_changed_is_named(tmp_path: Path) -> None:
    """Two wrong rules in one table are two lines."""
    rules = "[folders.invoices.validation.rules]\nEMPTY = 'warn'\nTOO_LARGE = 'warn'\n[folders.invoices]"
    problems = _problems(tmp_path, CONFIG.replace("[folders.invoices]", rules)).splitlines()
    assert problems == [
        "folders.invoices.validation.rules: EMPTY is always rejected",
        "folders.invoices.validation.rules: TOO_LARGE is not a rule about documents that can be changed here",
    ]


@pytest.mark.parametrize(("key", "place"), [("outbound", "in/out"), ("inbound", "out/in"), ("failed", "in")])
def test_folders_of_two_tables_may_not_overlap_either(tmp_path: Path, key: str, place: str) -> None:
    """One folder's results in another one's inbound, or an inbound among another one's results, are faults too."""
    places = {"inbound": "in2", "outbound": "out2", "rejected": "rejected2", "failed": "failed2", key: place}
    text = CONFIG + '[folders.contracts]\naccount = "main"\n'
    text += "".join(f'{name} = "{path}"\n' for name, path in places.items())
    assert f"folders.contracts.{key}: " in _problems(tmp_path, text)


def test_a_link_does_not_hide_an_overlap(tmp_path: Path) -> None:
    """Two names of one folder are the same folder."""
    (tmp_path / "in").mkdir()
    (tmp_path / "out").symlink_to("in")
    assert "folders.invoices.outbound: " in _problems(tmp_path, CONFIG)


def test_results_may_share_a_folder(tmp_path: Path) -> None:
    """Rejected and failed documents in one place, and two folders with one outbound, are nobody's trouble."""
    text = CONFIG.replace('"failed"', '"rejected"').replace('"rejected"', '"unsealed"')
    assert _load(tmp_path, text).folders["invoices"].failed == tmp_path / "unsealed"


def test_a_home_that_is_not_there_is_a_path_like_any(tmp_path: Path) -> None:
    """A user nobody knows makes a path that does not exist, which the start will tell, and no crash here."""
    loaded = _load(tmp_path, CONFIG.replace('"in"', '"~nobody-of-that-name/in"'))
    assert loaded.folders["invoices"].inbound == tmp_path / "~nobody-of-that-name" / "in"


def test_a_secret_that_is_no_text_is_not_shown(tmp_path: Path) -> None:
    """Neither the message nor the chain of errors behind it holds a byte of the secret."""
    (tmp_path / "secret").write_bytes(b"s3cret\xff")
    with pytest.raises(ConfigurationError) as caught:
        Secret.model_validate({"file": tmp_path / "secret"}).read()
    assert "xff" not in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert str(tmp_path / "secret") in str(caught.value)


def test_a_file_that_cannot_be_read_is_an_error_of_ours(tmp_path: Path) -> None:
    """A missing file, a folder and a file that is not UTF-8 are told as such."""
    (tmp_path / "latin").write_bytes(b"# caf\xe9")
    for path in (tmp_path / "missing", tmp_path, tmp_path / "latin"):
        with pytest.raises(ConfigurationError, match="cannot be read"):
            load(path)

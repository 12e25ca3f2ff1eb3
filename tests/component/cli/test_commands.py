"""What the commands say, on a state directory that a real run left behind."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from command import sealdrop
from running import Running, drop, quicken, running_daemon, running_service
from sealdrop.cli.app import COMMANDS as APP_COMMANDS
from sealdrop.report.schemas import RECORDED
from sealdrop.sandbox import samples
from sealdrop.sandbox.pki import Pki
from sealdrop.sandbox.server import Sandbox

DOCS = Path(__file__).parents[3] / "docs"
COMMANDS = [
    "run",
    "check",
    "sandbox",
    "status",
    "verify",
    "audit verify",
    "audit show",
    "audit export",
    "audit report",
    "demo",
]


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> Running:
    """What a run left behind: one document delivered, one rejected."""
    directory = tmp_path_factory.mktemp("left") / "sandbox"
    shutil.copytree(keys / "pki", directory / "pki")
    with running_service(directory) as (_, running):
        drop(samples.invoice(), running.folder().inbound, "invoice.pdf")
        drop(samples.not_a_pdf(), running.folder().inbound, "notes.pdf")
        running.wait_until_over(2)
    return running


@pytest.fixture
def trail(left: Running, tmp_path: Path) -> Path:
    """A copy of the audit trail, to tamper with."""
    copy = tmp_path / "audit"
    shutil.copytree(left.config.service.state_dir / "audit", copy)
    return copy


def _lines(trail: Path) -> tuple[Path, list[bytes]]:
    (path,) = trail.iterdir()
    return path, path.read_bytes().splitlines(keepends=True)


def _change_a_byte(lines: list[bytes]) -> list[bytes]:
    middle = len(lines) // 2
    changed = lines[middle].replace(b'"folder":"invoices"', b'"folder":"invoicez"')
    assert changed != lines[middle]
    return [*lines[:middle], changed, *lines[middle + 1 :]]


def _remove_a_line(lines: list[bytes]) -> list[bytes]:
    return lines[:3] + lines[4:]


def _swap_two_lines(lines: list[bytes]) -> list[bytes]:
    return [*lines[:3], lines[4], lines[3], *lines[5:]]


def _cut_the_tail(lines: list[bytes]) -> list[bytes]:
    return lines[:-2]


TAMPERING = [_change_a_byte, _remove_a_line, _swap_two_lines, _cut_the_tail]


def test_an_untouched_trail_is_whole(left: Running) -> None:
    """`audit verify` passes on what a run left behind, and prints a head to note."""
    ended = sealdrop("audit", "verify", "--config", left.config.source, "--json")
    assert ended.code == 0, ended
    assert ended.json()["ok"]
    assert ended.json()["records"] == ended.json()["head"]["seq"] > 10


@pytest.mark.parametrize("tamper", TAMPERING)
def test_tampering_with_the_files_is_found(trail: Path, tamper: Callable[[list[bytes]], list[bytes]]) -> None:
    """A byte changed, a line removed, two lines swapped, the tail cut: found from the files and a noted head alone."""
    head = sealdrop("audit", "verify", "--dir", trail, "--json").json()["head"]
    path, lines = _lines(trail)
    path.write_bytes(b"".join(tamper(lines)))
    ended = sealdrop("audit", "verify", "--dir", trail, "--expect", f"{head['seq']}:{head['hash']}")
    assert ended.code == 1, ended
    assert "NOT whole" in ended.out


@pytest.mark.parametrize("tamper", TAMPERING)
def test_tampering_is_found_with_the_ledger_at_hand(
    left: Running, tamper: Callable[[list[bytes]], list[bytes]]
) -> None:
    """The same four with the configuration: the ledger knows what was in the files, so even a cut tail shows."""
    original = left.config.service.state_dir / "audit"
    path, lines = _lines(original)
    path.write_bytes(b"".join(tamper(lines)))
    try:
        ended = sealdrop("audit", "verify", "--config", left.config.source)
    finally:
        path.write_bytes(b"".join(lines))
    assert ended.code == 1, ended


def test_a_cut_tail_needs_something_to_compare_with(trail: Path) -> None:
    """With the files alone and no noted head a cut tail cannot show, and the command says that it did not look."""
    path, lines = _lines(trail)
    path.write_bytes(b"".join(lines[:-2]))
    ended = sealdrop("audit", "verify", "--dir", trail)
    assert ended.code == 0
    assert "--expect" in ended.out


def test_a_malformed_expectation_is_a_usage_error(trail: Path) -> None:
    """--expect takes what a verification prints, and nothing else."""
    assert sealdrop("audit", "verify", "--dir", trail, "--expect", "12").code == 2


def test_records_can_be_shown_and_filtered(left: Running) -> None:
    """`audit show` prints the records, filtered by event and document; nothing found is exit code 1."""
    config = left.config.source
    everything = sealdrop("audit", "show", "--config", config, "--json").json()["records"]
    assert [record["seq"] for record in everything] == list(range(1, len(everything) + 1))
    (rejected,) = sealdrop("audit", "show", "--config", config, "--event", "document_rejected", "--json").json()[
        "records"
    ]
    assert rejected["data"]["reason"] == "NOT_PDF"
    story = sealdrop("audit", "show", "--config", config, "--document", rejected["document"])
    assert story.code == 0
    assert "document_received" in story.out
    assert "service_started" not in story.out
    nothing = sealdrop("audit", "show", "--config", config, "--event", "nothing_such")
    assert (nothing.code, nothing.out) == (1, "")
    assert "Nothing on record in" in nothing.err
    assert sealdrop("audit", "show", "--config", config, "--since", "2999-01-01").code == 1


def test_an_auditor_needs_nothing_but_the_files(trail: Path, tmp_path: Path) -> None:
    """By name, digest and outcome documents are found, exported and reported on from a copy of the trail alone."""
    (story,) = _stories(trail, "--name", "invoice.pdf")
    received, verified = story[0]["data"], next(each for each in story if each["event"] == "document_verified")["data"]
    assert verified["certificate"]["subject"]
    for asked in (
        ("--digest", verified["sealed_sha256"]),
        ("--digest", received["sha256"]),
        ("--outcome", "delivered"),
    ):
        assert _stories(trail, *asked) == [story]
    told = sealdrop("audit", "show", "--dir", trail, "--outcome", "rejected")
    assert "NOT_PDF" in told.out
    assert "Times are UTC" in told.out
    table = tmp_path / "table.json"
    assert sealdrop("audit", "export", "--dir", trail, "--format", "json", "--output", table).code == 0
    rows = json.loads(table.read_text())["documents"]
    assert {row["outcome"]: row["certificate_serial"] is not None for row in rows} == {
        "delivered": True,
        "rejected": False,
    }
    month = received["folder"], story[0]["at"][:7]
    report = ("audit", "report", "--dir", trail, "--folder", month[0], "--month", month[1], "--output", tmp_path)
    made = sealdrop(*report)
    assert made.code == 0, made
    paths = [Path(line) for line in made.out.splitlines()]
    assert [path.suffix for path in paths] == [".html", ".pdf", ".csv"]
    assert verified["certificate"]["serial"] in paths[0].read_text()
    assert paths[1].read_bytes().startswith(b"%PDF")
    again = sealdrop(*report)
    assert again.code == 2, "what is there is not overwritten"
    assert sealdrop(*report, "--replace").code == 0
    nowhere = sealdrop(*report, "--output", "/proc")  # where even root makes no file
    assert nowhere.code == 1
    assert "cannot be written: " in nowhere.err
    assert sealdrop("audit", "report", "--dir", trail, "--month", "november").code == 2


def test_what_is_on_record_fits_the_published_schema(trail: Path) -> None:
    """Every record of a real run is valid, and has no field that the schema does not name."""
    validator = jsonschema.Draft202012Validator(json.loads((DOCS / "schemas" / "audit-record.schema.json").read_text()))
    for record in [json.loads(line) for path in trail.iterdir() for line in path.read_text().splitlines()]:
        validator.validate(record)
        always, sometimes = RECORDED[record["event"]]
        assert set(record["data"]) <= {*always, *sometimes}


def _stories(trail: Path, *asked: str) -> list[list[dict[str, Any]]]:
    """The records that `audit show` gives, by document."""
    records = sealdrop("audit", "show", "--dir", trail, "--json", *asked).json()["records"]
    documents = dict.fromkeys(record["document"] for record in records)
    return [[record for record in records if record["document"] == each] for each in documents]


def test_status_counts_and_tells_stories(left: Running) -> None:
    """`status` counts by folder and state; with an ID, a short ID or a name it tells that document's story."""
    config = left.config.source
    counted = sealdrop("status", "--config", config, "--json").json()
    assert counted["folders"]["invoices"]["states"] == {"delivered": 1, "rejected": 1}
    assert "delivered" in sealdrop("status", "--config", config).out
    (told,) = sealdrop("status", "invoice.pdf", "--config", config, "--json").json()["documents"]
    assert told["events"][0]["event"] == "document_received"
    assert told["events"][-1]["event"] == "document_delivered"
    identifier = told["document"]["id"]
    for wanted in (identifier, identifier.partition("-")[2][:8]):
        story = sealdrop("status", wanted, "--config", config)
        assert story.code == 0
        assert "document_verified" in story.out
    nothing = sealdrop("status", "nothing-such.pdf", "--config", config)
    assert nothing.code == 1
    assert "nothing-such.pdf" in nothing.out


def test_status_says_what_waits_and_why(directory: Path, invoice: bytes) -> None:
    """While the service is away, `status` names the document that waits, and the last error."""
    with Sandbox.start(directory) as sandbox:
        quicken(sandbox.config_path)
        config = sandbox.config_path
    with running_daemon(config) as running:
        drop(invoice, running.folder().inbound, "patient.pdf")
        running.wait_for(lambda: bool(running.events))
        running.wait_for(lambda: any(document.state == "submitting" for document in running.documents.values()))
    ended = sealdrop("status", "--config", config)
    assert ended.code == 0
    assert "patient.pdf" in ended.out
    waiting = sealdrop("status", "--config", config, "--json").json()["folders"]["invoices"]["oldest_waiting"]
    assert waiting["state"] == "submitting"
    assert waiting["name"] == "patient.pdf"


def test_verify_needs_nothing_but_the_file_and_its_receipt(left: Running, tmp_path: Path) -> None:
    """`verify` passes on a sealed PDF, alone and with its receipt; with anchors the chain is judged too."""
    sealed = left.folder().outbound / "invoice.pdf"
    alone = tmp_path / "alone.pdf"
    shutil.copy(sealed, alone)
    assert sealdrop("verify", alone).code == 0
    with_receipt = sealdrop("verify", sealed, "--json").json()
    outcomes = {check["name"]: check["outcome"] for check in with_receipt["verification"]["checks"]}
    assert outcomes["prefix"] == "passed"
    assert outcomes["trusted_chain"] == "not_asked"
    trusted = sealdrop("verify", sealed, "--config", left.config.source)
    assert trusted.code == 0, trusted
    assert "Valid" in trusted.out


def test_verify_finds_what_was_changed(left: Running, tmp_path: Path) -> None:
    """A changed PDF, a receipt of another one, and an anchor that is not the seal's: each is exit code 1."""
    sealed = left.folder().outbound / "invoice.pdf"
    changed = tmp_path / "changed.pdf"
    content = sealed.read_bytes()
    changed.write_bytes(content[:500] + bytes([content[500] ^ 1]) + content[501:])
    assert sealdrop("verify", changed).code == 1
    longer = tmp_path / "longer.pdf"
    longer.write_bytes(content + b"\n")
    receipt = sealed.with_name("invoice.pdf.receipt.json")
    assert sealdrop("verify", longer, "--receipt", receipt).code == 1
    other = Pki.ensure(tmp_path / "other")
    assert sealdrop("verify", sealed, "--trust", other.ca_file).code == 1
    assert sealdrop("verify", sealed, "--organisation", "Somebody Else").code == 1


def test_a_receipt_that_is_none_is_said_so(left: Running, tmp_path: Path) -> None:
    """A file that is no receipt is an error that names the place, not a traceback."""
    sealed = left.folder().outbound / "invoice.pdf"
    broken = tmp_path / "broken.json"
    broken.write_text(json.dumps({"kind": "sealdrop-receipt", "version": 99}))
    ended = sealdrop("verify", sealed, "--receipt", broken)
    assert ended.code == 1
    assert "not a receipt" in ended.err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    """Each command has a real --help."""
    ended = sealdrop(*command.split(), "--help")
    assert ended.code == 0
    assert len(ended.out.splitlines()) > 8


def test_help_says_what_is_written() -> None:
    """Commands stand in the order in which they are needed; what is in brackets is no markup, and lines are full."""
    listed = [line.split()[1] for line in sealdrop("--help").out.splitlines() if line.startswith("│ ")]
    assert [each for each in listed if each in APP_COMMANDS] == list(APP_COMMANDS)
    told = sealdrop("check", "--help").out
    assert "channel of [alerts]." in told
    assert "the rights of the service's user. Exits with 0 if all is well" in told


def test_a_configuration_that_cannot_be_used_lists_every_fault(tmp_path: Path) -> None:
    """Exit code 78, every fault with its place, and nothing of a traceback."""
    config = tmp_path / "sealdrop.toml"
    config.write_text(
        '[service]\nstate_dri = "x"\n[accounts.a]\nbase_url = "http://plain"\n[folders.f]\naccount = "a"\n'
    )
    ended = sealdrop("run", "--config", config)
    assert ended.code == 78
    for place in ("service.state_dri", "service.state_dir", "accounts.a.base_url", "folders.f.inbound"):
        assert place in ended.err
    assert "Traceback" not in ended.err


def test_a_file_that_is_missing_is_said_so(tmp_path: Path) -> None:
    """A configuration that does not exist is exit code 78, with its path."""
    ended = sealdrop("status", "--config", tmp_path / "none.toml")
    assert ended.code == 78
    assert "none.toml" in ended.err

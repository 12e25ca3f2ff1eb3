"""Known secrets, fed through failures of every kind: none of them comes out anywhere."""

import base64
import io
import json
import os
import re
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs12
from pypdf import PdfWriter
from reportlab.pdfgen.canvas import Canvas
from starlette.requests import Request
from starlette.responses import Response

from command import Ended, sealdrop
from running import PATIENCE_S, QUICK, KeptLog, Running, drop, quicken, running_daemon, unique
from sealdrop import logs
from sealdrop.daemon import stages
from sealdrop.ledger.store import Claimed, Ledger
from sealdrop.model import Document, Inspection, State
from sealdrop.sandbox import samples
from sealdrop.sandbox.app import Api
from sealdrop.sandbox.faults import CallFault, Operation, SealFault
from sealdrop.sandbox.server import Sandbox
from sealdrop.signapi.transport import NO_BODY, Answer, Body, Transport

# What only the document says: in its pages, metadata, title, attachment and form.
MARKS = ("ZahlungsverzugAbt", "MetadatenUrteil", "TitelKuendigung", "AnlageGehalt", "FormularDiagnose")
FILE_NAME = "Lohnpfaendung Mueller 4711.pdf"
STRETCH = 24  # characters of something encoded that must not come out
IMPATIENT = {
    "refused_alone_s": "0.5",
    "retry_first_s": "0.1",
    "ask_after_s": "0.1",
    "sign_again_after_s": "25",
    "retry_longest_s": "0.3",
}


def secret_document() -> bytes:
    """A PDF that says what is in `MARKS`, uncompressed, so that every copy of its bytes shows it."""
    page, whole = io.BytesIO(), io.BytesIO()
    canvas = Canvas(page, pageCompression=0)
    canvas.drawString(72, 700, MARKS[0])
    canvas.acroForm.textfield(name="finding", value=MARKS[4], x=72, y=600)
    canvas.save()
    writer = PdfWriter(clone_from=page)
    writer.add_metadata({"/Title": MARKS[2], "/Subject": MARKS[1]})
    writer.add_attachment("a.txt", MARKS[3].encode())
    writer.write(whole)
    return whole.getvalue()


def stretches(encoded: str) -> Iterator[str]:
    """Parts of an encoded secret, enough of them to see any longer part."""
    return (encoded[at : at + STRETCH] for at in range(0, len(encoded) - STRETCH + 1, STRETCH // 2))


class Secrets:
    """What must not come out, in all the ways that it could be spelled."""

    def __init__(self) -> None:
        self._short: set[bytes] = set()
        self._stretches: set[bytes] = set()

    def add(self, secret: str) -> None:
        """Keep a short secret: as it is, in base64, in hexadecimal."""
        plain = secret.encode()
        self._short |= {plain, base64.b64encode(plain).rstrip(b"=")[:-1], plain.hex().encode()}

    def add_long(self, content: bytes) -> None:
        """Keep a long secret: any part of it in base64 or hexadecimal."""
        for encoded in (base64.b64encode(content).decode(), content.hex()):
            self._stretches |= {stretch.encode() for stretch in stretches(encoded) if len(set(stretch)) > 8}

    def found_in(self, haystack: bytes) -> list[bytes]:
        """What of it is in some bytes, line breaks of any kind aside."""
        found = [secret for secret in self._short if secret in haystack]
        joined = re.sub(rb"\\[nrt/]|\s", b"", haystack)
        for run in re.findall(rb"[A-Za-z0-9+/]{%d,}" % STRETCH, joined):
            windows = {run[at : at + STRETCH] for at in range(len(run) - STRETCH + 1)}
            found += windows & self._stretches
        return found


class BothForms(KeptLog):
    """A log that writes every line, of every level, as JSON and for a terminal."""

    def __init__(self) -> None:
        super().__init__()
        self.outs = {form: io.StringIO() for form in ("json", "console")}
        self._said = threading.Condition()
        self._logs = []
        for form, out in self.outs.items():
            logs.configure(form, "debug", out)  # type: ignore[arg-type]
            self._logs.append(structlog.get_logger().bind())

    def _say(self, level: str, event: str, fields: dict[str, object]) -> None:
        with self._said:
            super()._say(level, event, fields)
            for log in self._logs:
                getattr(log, level)(event, **fields)
            self._said.notify_all()

    def wait_for(self, event: str) -> None:
        """Return once that was said."""
        with self._said:
            assert self._said.wait_for(lambda: self.events(event), PATIENCE_S)

    def text(self) -> bytes:
        """All that was written."""
        return "".join(out.getvalue() for out in self.outs.values()).encode()


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def echoes(content: bytes, external_id: str, request_id: str) -> list[Response]:
    """Answers that are wrong in many ways, each with the document in it."""
    encoded, text = base64.b64encode(content).decode(), content.decode("latin-1")
    lines = base64.encodebytes(content).decode()
    good: dict[str, object] = {
        "signatureRequestId": request_id,
        "externalSignatureRequestId": external_id,
        "status": "SIGN_IN_PROGRESS",
    }
    wrong: list[dict[str, object]] = [
        {"errorMsg": f"cannot read {text}"},
        {"errorMsg": f"cannot read {lines}", "errorLabel": encoded},
        {**good, "status": encoded},
        {**good, "signatureRequestId": encoded},
        {**good, "externalSignatureRequestId": content.hex()},
        {**good, "signedContent": list(content)},
        {**good, "reason": {"document": encoded}},
        {**good, "signingDate": text},
        {**good, "archives": [{"archiveId": encoded}]},
        {**good, "signedContent": encoded[:-3]},
    ]
    kept = {
        "reason": f"waiting for {lines}",
        "document": encoded,
        "more": {"signedContent": encoded, "deep": [{"toSignContent": lines, "bytes": list(content)}]},
        encoded: "name",
        "sha1": content.hex(),
        "text": text,
    }
    return [
        Response(content, 200, media_type="application/json"),
        Response(content, 500),
        Response(json.dumps({"signedContent": encoded})[:-2], 200),
        *(Response(json.dumps(each), 200) for each in wrong),
        Response(json.dumps({**good, **kept}), 200),
    ]


class Wire:
    """What leaves for SignAPI, and answers in the place of the sandbox's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
        self.sent = b""
        self.echoed = 0
        self._waiting: list[Response] | None = None
        exchange, status, describe = Transport.exchange, Api._status, Api._describe

        def noted(  # as the real one
            own: Transport,
            call: Any,  # noqa: ANN401
            method: str,
            path: str,
            parameters: Any,  # noqa: ANN401
            body: Body = NO_BODY,
            **to: Any,  # noqa: ANN401
        ) -> Answer:
            whole = b"".join(body.pieces)
            self.sent += f"{method} {path} {dict(parameters)} ".encode() + whole
            return exchange(own, call, method, path, parameters, Body((whole,), len(whole)), **to)

        async def answer(own: Api, call: Request) -> Response:
            identifier = call.query_params.get("id")
            if identifier and self._waiting is None:
                found = await own._service.find(identifier, None)
                self._waiting = echoes(content, found.external_id, found.id)
            if identifier and self._waiting:
                self.echoed += 1
                return self._waiting.pop(0)
            return await status(own, call)

        def described(own: Api, request: Any, *, with_content: bool) -> dict[str, object]:  # noqa: ANN401
            told = describe(own, request, with_content=with_content)
            if with_content and "signedContent" in told:
                told["copy"] = told["signedContent"]
                told["nested"] = [{"document": told["signedContent"], "signedContent": told["signedContent"]}]
            return told

        monkeypatch.setattr(Transport, "exchange", noted)
        monkeypatch.setattr(Api, "_status", answer)
        monkeypatch.setattr(Api, "_describe", described)


def _break_once(monkeypatch: pytest.MonkeyPatch, passphrase: str, content: bytes) -> list[str]:
    """Have a worker meet the unforeseen with secrets in its hands, and an examination fail in the document's words."""
    broken: list[str] = []
    claim, validate = Ledger.claim, stages.validate

    def failing_claim(own: Ledger, *states: State, **options: Any) -> Claimed:  # noqa: ANN401
        held = (passphrase, content)
        if State.VERIFIED in states and "claim" not in broken:
            broken.append("claim")
            raise KeyError(held[1].decode("latin-1"), base64.encodebytes(held[1]).decode())
        return claim(own, *states, **options)

    def failing_validate(*arguments: Any, **options: Any) -> Inspection:  # noqa: ANN401
        if "validate" not in broken:
            broken.append("validate")
            raise ValueError(f"invalid object {base64.encodebytes(content).decode()} in {content.decode('latin-1')}")
        return validate(*arguments, **options)

    monkeypatch.setattr(Ledger, "claim", failing_claim)
    monkeypatch.setattr(stages, "validate", failing_validate)
    return broken


def _companions(running: Running) -> dict[Path, bytes]:
    """All that stands beside documents in the folders: receipts and reasons."""
    found = {}
    for name in ("outbound", "rejected", "failed"):
        for path in getattr(running.folder(), name).rglob("*"):
            if path.is_file() and path.suffix in (".json", ".txt"):
                found[path] = path.read_bytes()
    return found


def _state(running: Running) -> dict[Path, bytes]:
    """All that the daemon keeps, but the documents themselves."""
    state_dir = running.config.service.state_dir
    return {path: path.read_bytes() for path in state_dir.rglob("*") if path.is_file() and path.suffix != ".pdf"}


def _asked(running: Running, documents: list[Document]) -> list[Ended]:
    """What the commands say of it all."""
    config = running.config.source
    asked = [
        *(
            ("status", "--config", config),
            ("audit", "verify", "--config", config),
            ("audit", "show", "--config", config),
        ),
        *(("status", document.id, "--config", config) for document in documents),
    ]
    pdfs = list(running.folder().outbound.rglob("*.pdf"))
    asked += [("verify", path, "--config", config) for path in pdfs]
    return [sealdrop(*command, *form) for command in asked for form in ((), ("--json",))]


def test_no_secret_comes_out(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Passphrase, key and document content are in no log, record, receipt, reason, traceback or command's output."""
    content = secret_document()
    secrets = Secrets()
    for mark in MARKS:
        assert mark.encode() in content
        secrets.add(mark)
    secrets.add_long(content)
    log, wire = BothForms(), Wire(monkeypatch, content)
    with Sandbox.start(directory, delays=QUICK) as sandbox:
        quicken(sandbox.config_path, **IMPATIENT)
        passphrase = (directory / "pki" / "client.passphrase").read_text().strip()
        secrets.add(passphrase)
        key = pkcs12.load_pkcs12((directory / "pki" / "client.p12").read_bytes(), passphrase.encode()).key
        assert key is not None
        secrets.add_long(key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))
        broken = _break_once(monkeypatch, passphrase, content)
        encoded = base64.encodebytes(content).decode()
        with running_daemon(sandbox.config_path, log=log) as running:
            inbound = running.folder().inbound
            drop(content, inbound, FILE_NAME)
            running.wait_until_over(1)
            sandbox.faults.add(CallFault.ERROR_MSG_200, Operation.CREATE, times=1_000, message=f"refused: {encoded}")
            drop(unique(content, 1), inbound, f"refused/{FILE_NAME}")
            running.wait_until_over(2)
            sandbox.faults.clear()
            sandbox.faults.add(SealFault.SIGN_FAILED, Operation.ANY, reason=f"failed on {content.decode('latin-1')}")
            drop(unique(content, 2), inbound, f"failed/{FILE_NAME}")
            running.wait_until_over(3)
            for number, fault in enumerate((SealFault.MODIFIED_PREFIX, SealFault.UNTRUSTED_CERTIFICATE), 3):
                sandbox.faults.add(fault, Operation.ANY)
                drop(unique(content, number), inbound, f"{fault}/{FILE_NAME}")
                running.wait_until_over(number + 1)
            drop(content[: len(content) // 2] + content[-200:], inbound, f"torn/{FILE_NAME}")
            drop(b"no PDF: " + MARKS[0].encode(), inbound, f"text/{FILE_NAME}")
            documents = running.wait_until_over(7)
            while_running = _state(running)
            asked = _asked(running, documents)
    states = {document.name.partition("/")[0]: document.state for document in documents}
    assert states[FILE_NAME] is State.DELIVERED, running.log.events("retry_scheduled")
    assert {states[name] for name in ("refused", "failed", "modified_prefix", "untrusted_certificate")} == {
        State.FAILED
    }
    assert {states[name] for name in ("torn", "text")} == {State.REJECTED}
    assert broken == ["validate", "claim"] or broken == ["claim", "validate"]
    assert wire.echoed == len(echoes(content, "", ""))
    assert [line for line in log.lines if line.get("exc_info")]
    out, err = capfd.readouterr()
    said = "".join(ended.out + ended.err for ended in asked).encode()
    haystacks = {"log": log.text(), "commands": said, "stdout": out.encode(), "stderr": err.encode()}
    haystacks |= {str(path): content for path, content in {**while_running, **_state(running)}.items()}
    companions = _companions(running)
    assert len(companions) == 1 + 2 * 6
    haystacks |= {str(path): content for path, content in companions.items()}
    assert any(name.endswith("ledger.sqlite-wal") for name in haystacks)
    assert {name: found for name, content in haystacks.items() if (found := secrets.found_in(content))} == {}
    # What is for others does not say where things are on this machine.
    for path, companion in companions.items():
        assert str(directory).encode() not in companion, path
    for unwanted in (FILE_NAME, "Lohnpfaendung", str(directory), "modified_prefix"):
        assert unwanted.encode() not in wire.sent
    assert b"toSignContent" in wire.sent


Damage = Callable[[Path, str], str]


def _wrong_passphrase(directory: Path, config: str) -> str:
    (directory / "pki" / "client.passphrase").write_text("Wrong-Horse-Battery")
    return config


def _not_utf8(directory: Path, config: str) -> str:
    (directory / "pki" / "client.passphrase").write_bytes(b"Wrong-Horse-Battery\xff")
    return config


def _from_environment(_: Path, config: str) -> str:
    return config.replace('{ file = "pki/client.passphrase" }', '{ env = "SEALDROP_TEST_PASSPHRASE" }')


def _from_credential(_: Path, config: str) -> str:
    return config.replace('{ file = "pki/client.passphrase" }', '{ credential = "wrong" }')


def _inline(_: Path, config: str) -> str:
    return config.replace('{ file = "pki/client.passphrase" }', '"Wrong-Horse-Battery"')


def _unknown_key(_: Path, config: str) -> str:
    return config.replace('organisation = "', 'password = "Wrong-Horse-Battery"\norganisation = "')


def _broken_toml(_: Path, config: str) -> str:
    return config.replace('{ file = "pki/client.passphrase" }', 'Wrong-Horse-Battery"')


def _two_places(_: Path, config: str) -> str:
    return config.replace('{ file = "pki', '{ env = "Wrong-Horse-Battery", file = "pki')


def _no_key(directory: Path, config: str) -> str:
    (directory / "pki" / "client.p12").unlink()
    return config


def _no_pkcs12(directory: Path, config: str) -> str:
    (directory / "pki" / "client.p12").write_text("Wrong-Horse-Battery")
    return config


@pytest.mark.parametrize(
    "damage",
    [
        _wrong_passphrase,
        _not_utf8,
        _from_environment,
        _from_credential,
        _inline,
        _unknown_key,
        _broken_toml,
        _two_places,
        _no_key,
        _no_pkcs12,
    ],
)
def test_a_configuration_that_cannot_be_used_does_not_tell(
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    damage: Damage,
) -> None:
    """However passphrase and key are given and whatever is wrong with them, `sealdrop run` names places, not values."""
    with Sandbox.start(directory, delays=QUICK) as sandbox:
        config = sandbox.config_path
    passphrase = (directory / "pki" / "client.passphrase").read_text().strip()
    credentials = directory / "credentials"
    credentials.mkdir()
    (credentials / "wrong").write_text("Wrong-Horse-Battery\n")
    monkeypatch.setenv("SEALDROP_TEST_PASSPHRASE", "Wrong-Horse-Battery")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    config.write_text(damage(directory, config.read_text()))
    ended = sealdrop("run", "--config", config)
    assert ended.code == 78, ended
    out, err = capfd.readouterr()
    secrets = Secrets()
    secrets.add("Wrong-Horse-Battery")
    secrets.add(passphrase)
    assert secrets.found_in(f"{ended.out}{ended.err}{out}{err}".encode()) == []
    assert "Traceback" not in ended.err
    assert str(directory) in ended.err or "SEALDROP_TEST_PASSPHRASE" in ended.err


def test_a_tls_refusal_does_not_tell(directory: Path) -> None:
    """A server that trusts nobody we know, and one that does not know us, are told of in words without a key."""
    log = BothForms()
    with Sandbox.start(directory, delays=QUICK) as sandbox:
        passphrase = (directory / "pki" / "client.passphrase").read_text().strip()
        other = directory / "other"
        other.mkdir()
        with Sandbox.start(other, delays=QUICK) as stranger:
            config = sandbox.config_path
            text = config.read_text().replace('ca_file = "pki/root.pem"', 'ca_file = "other/pki/root.pem"')
            config.write_text(text)
            quicken(config, **IMPATIENT)
            assert stranger.config_path.is_file()
            with running_daemon(config, log=log) as running:
                drop(samples.invoice(), running.folder().inbound, FILE_NAME)
                log.wait_for("retry_scheduled")
                said = [sealdrop("status", "--config", config, *form) for form in ((), ("--json",))]
                state = _state(running)
    errors = [str(line["error"]) for line in log.events("retry_scheduled", "account_unreachable")]
    assert any("TLS refused" in error for error in errors)
    secrets = Secrets()
    secrets.add(passphrase)
    haystacks = [log.text(), *state.values(), *(f"{ended.out}{ended.err}".encode() for ended in said)]
    assert [secrets.found_in(haystack) for haystack in haystacks] == [[]] * len(haystacks)


def test_an_unforeseen_end_of_a_command_shows_no_values(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Python prints when `sealdrop run` meets the unforeseen has no local variables in it."""
    with Sandbox.start(directory, delays=QUICK) as sandbox:
        config = sandbox.config_path

    def unforeseen(passphrase: str = os.fspath("Correct-Horse" + "-Staple")) -> None:
        raise KeyError(len(passphrase))

    monkeypatch.setattr("sealdrop.daemon.service.check_folders", lambda _: unforeseen())
    with pytest.raises(KeyError) as caught:
        sealdrop("run", "--config", config)
    shown = "".join(traceback.format_exception(caught.value))
    assert "KeyError: 20" in shown
    assert "Correct-Horse-Staple" not in shown

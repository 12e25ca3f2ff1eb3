"""Who may call: the holder of the sandbox's client certificate, and nobody else."""

import shutil
import ssl
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import trustme

from sandbox_caller import SIGNATURES, StartSandbox, client_context
from sealdrop.sandbox.pki import Pki


def stranger(context: ssl.SSLContext, _: Pki) -> None:
    """Hold a client certificate of another authority."""
    trustme.CA().issue_cert("client").configure_cert(context)


def seal_holder(context: ssl.SSLContext, pki: Pki) -> None:
    """Hold the seal's own certificate, of the right authority but not meant for this."""
    context.load_cert_chain(pki.folder / "seal.pem", pki.folder / "seal.key")


def server(context: ssl.SSLContext, pki: Pki) -> None:
    """Hold the server's certificate, of the right authority but not meant for this."""
    context.load_cert_chain(*pki.server_files)


def nobody(_context: ssl.SSLContext, _: Pki) -> None:
    """Hold nothing."""


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("present", [nobody, stranger, seal_holder, server])
def test_without_the_right_certificate_the_handshake_fails(
    start: StartSandbox, tmp_path: Path, present: Callable[[ssl.SSLContext, Pki], None], version: ssl.TLSVersion
) -> None:
    """No certificate, a stranger's, and those for other purposes all end the connection by a TLS alert."""
    caller = start()
    context = client_context(caller.sandbox.pki, tmp_path, certificate=False)
    context.minimum_version = context.maximum_version = version
    present(context, caller.sandbox.pki)
    # In TLS 1.3 the server's refusal arrives when the client thinks all is well and reads; before, when it connects.
    refusal = pytest.raises((httpx.ConnectError, httpx.ReadError), match="alert")
    with httpx.Client(base_url=caller.sandbox.url, verify=context) as client, refusal:
        client.get(f"{SIGNATURES}/search/")
    assert caller.http.get(f"{SIGNATURES}/search/").json() == []


def test_the_right_certificate_is_let_in_by_every_name(start: StartSandbox) -> None:
    """The PKCS#12 file opens with its passphrase, and the server's certificate holds for localhost and 127.0.0.1."""
    caller = start()
    for host in ("localhost", "127.0.0.1"):
        address = f"https://{host}:{caller.sandbox.port}{SIGNATURES}/search/"
        assert caller.http.get(address).status_code == 200


def test_the_server_is_trusted_for_its_root_alone(start: StartSandbox) -> None:
    """A client that does not know the sandbox's root refuses it."""
    refusal = pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED")
    with httpx.Client(base_url=start().sandbox.url, verify=ssl.create_default_context()) as client, refusal:
        client.get("/")


def test_old_tls_is_refused(start: StartSandbox, tmp_path: Path) -> None:
    """TLS 1.1 is not spoken."""
    caller = start()
    context = client_context(caller.sandbox.pki, tmp_path)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = ssl.TLSVersion.TLSv1_1
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with httpx.Client(base_url=caller.sandbox.url, verify=context) as client, pytest.raises(httpx.ConnectError):
        client.get("/")


def test_private_files_are_private(directory: Path) -> None:
    """Keys, the client's bundle and its passphrase can be read by their owner only."""
    shutil.rmtree(directory / "pki")
    pki = Pki.ensure(directory)
    private = [*pki.folder.glob("*.key"), pki.client_file, pki.passphrase_file]
    assert len(private) == 6
    assert {path.stat().st_mode & 0o777 for path in private} == {0o600}

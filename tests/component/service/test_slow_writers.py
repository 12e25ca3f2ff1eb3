"""A file is never taken over before its writer is done with it."""

import subprocess
import sys
from pathlib import Path

from running import running_service, sha256
from sealdrop.model import State

# Writes a file's content as a slow program does, in one opening or in several, from a process of its own.
WRITER = """
import sys, time
source, target, openings, pieces, pause_s = sys.argv[1:]
content = open(source, "rb").read()
openings, pieces, pause_s = int(openings), int(pieces), float(pause_s)
size = -(-len(content) // (openings * pieces))
parts = [content[at : at + size] for at in range(0, len(content), size)]
for opening in range(openings):
    with open(target, "wb" if opening == 0 else "ab", buffering=0) as file:
        for part in parts[opening * pieces : (opening + 1) * pieces]:
            file.write(part)
            time.sleep(pause_s)
    time.sleep(pause_s)
"""


def _large(invoice: bytes, size_bytes: int) -> bytes:
    head, mark, tail = invoice.rpartition(b"startxref")
    line = b"%" + b"x" * 98 + b"\n"
    return head + line * (size_bytes // len(line)) + mark + tail


def _write_slowly(source: Path, target: Path, *, openings: int, pieces: int, pause_s: float) -> subprocess.Popen[bytes]:
    arguments = [str(source), str(target), str(openings), str(pieces), str(pause_s)]
    return subprocess.Popen([sys.executable, "-c", WRITER, *arguments])


def test_slow_writers_are_never_interrupted(directory: Path, invoice: bytes, tmp_path: Path) -> None:
    """5 MB written over 10 s through one open file, and a PDF written in two openings with a pause, arrive whole.

    The pauses are several times the settle time, so a service that trusted stillness alone would take a half.
    """
    whole = _large(invoice, 5_000_000)
    halves = _large(invoice, 50_000)
    (tmp_path / "whole").write_bytes(whole)
    (tmp_path / "halves").write_bytes(halves)
    with running_service(directory, settle_s="0.2", incomplete_s="60") as (sandbox, running):
        inbound = running.folder("contracts").inbound
        writers = [
            _write_slowly(tmp_path / "whole", inbound / "whole.pdf", openings=1, pieces=10, pause_s=1.0),
            _write_slowly(tmp_path / "halves", inbound / "halves.pdf", openings=2, pieces=1, pause_s=2.0),
        ]
        try:
            documents = running.wait_until_over(2)
        finally:
            assert [writer.wait(60) for writer in writers] == [0, 0]
        seals = sandbox.seals()
    received = [event.fields["sha256"] for _, event in running.events if event.name == "document_received"]
    assert sorted(map(str, received)) == sorted([sha256(whole), sha256(halves)])
    assert {document.state for document in documents} == {State.DELIVERED}
    assert sorted(seal.sha256 for seal in seals) == sorted([sha256(whole), sha256(halves)])


def test_a_finished_file_that_stays_open_waits_for_its_writer(directory: Path, invoice: bytes) -> None:
    """A complete PDF that a program still holds open for writing is taken when the program closes it, not before."""
    with running_service(directory, settle_s="0.1") as (_, running):
        path = running.folder("contracts").inbound / "open.pdf"
        other = running.folder("contracts").inbound / "closed.pdf"
        with path.open("wb", buffering=0) as held:
            held.write(invoice)
            # Another file that comes later overtakes it: the service is awake and has looked.
            other.write_bytes(invoice + b"\n")
            running.wait_for(lambda: any(document.name == "closed.pdf" for document in running.over()))
            assert [document.name for document in running.documents.values()] == ["closed.pdf"]
        running.wait_until_over(2)

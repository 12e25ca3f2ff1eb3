"""Inspection and verification of documents that were made to harm: always a verdict, never more than the limits.

``SEALDROP_MUTATIONS`` says how many spoilt documents are tried, 300 if it says nothing.
"""

import csv
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

import hostile
import pdfs
from sealdrop.config import Validation
from sealdrop.model import Inspection, Reason, Verdict
from sealdrop.pdf.inspect import inspect
from sealdrop.pdf.jail import Jail, JailLimitExceeded, JailLimits
from sealdrop.pdf.seal import Expectation, verify_seal

CORPUS = Path(__file__).parents[4] / "shared" / "corpus"
SEALS = Path(__file__).parents[2] / "data" / "seals"
MUTATIONS = int(os.environ.get("SEALDROP_MUTATIONS", "300"))
NOW = datetime(2026, 11, 23, tzinfo=UTC)
MIB = 1 << 20

# Those that are hardest on pyHanko, too.
ANSWERS = (
    "nested arrays",
    "nested page tree",
    "page tree that is its own kid",
    "/Prev to itself",
    "metadata that expand thrice",
    "object stream that counts wrong",
    "a billion pages by doubling",
    "a number without end",
    "/W of nothing",
    "huge /Index",
    "huge /W",
    "a header in zeros",
    "encrypted with itself",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the documents of these tests stand."""
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="module")
def jail(folder: Path) -> Iterator[Jail]:
    """A jail with a short limit on CPU time, so that what would run into the real one does so soon."""
    readable = [folder, CORPUS] if CORPUS.is_dir() else [folder]
    with Jail(1, JailLimits(wall_s=60.0, cpu_s=4), readable=readable) as jail:
        yield jail


def judge(jail: Jail, folder: Path, content: bytes) -> Reason | None:
    """Return the reason for which a document is rejected, None if it is accepted; beyond the limits is a reason too."""
    path = folder / "document.pdf"
    path.write_bytes(content)
    try:
        inspection = jail.run(inspect, path, Validation())
    except JailLimitExceeded:
        return Reason.PARSER_LIMIT
    assert (inspection.cause is None) == (inspection.verdict is Verdict.ACCEPT)
    return inspection.cause.code if inspection.cause else None


@pytest.mark.parametrize("name", hostile.DOCUMENTS)
def test_each_gets_its_verdict(jail: Jail, folder: Path, name: str) -> None:
    """A document that was made to hang, fill or crash its reader is judged, for a reason that may be given for it."""
    content, expected = hostile.DOCUMENTS[name]()
    assert judge(jail, folder, content) in expected


@pytest.mark.parametrize("name", ANSWERS)
def test_none_passes_for_a_seal(folder: Path, name: str) -> None:
    """The same as an answer of the service: the report says that a check failed, or the limits do."""
    path = folder / "answer.pdf"
    path.write_bytes(hostile.DOCUMENTS[name]()[0])
    with Jail(1, JailLimits(wall_s=60.0, cpu_s=1), readable=[folder]) as jail:
        try:
            report = jail.run(verify_seal, path, Expectation(now=NOW))
        except JailLimitExceeded:
            return
    assert report.first_failure is not None


def test_a_file_of_two_gigabytes_is_not_read(folder: Path) -> None:
    """A sparse file over the limit is rejected for its size, in less memory and time than reading it takes."""
    path = folder / "sparse.pdf"
    with path.open("wb") as sparse:
        sparse.truncate(2 << 30)
    with Jail(1, JailLimits(wall_s=60.0, cpu_s=1, memory_bytes=512 * MIB), readable=[folder]) as jail:
        inspection = jail.run(inspect, path, Validation())
    assert inspection.cause is not None
    assert inspection.cause.code is Reason.TOO_LARGE


def test_spoilt_documents_get_a_verdict(jail: Jail, folder: Path) -> None:
    """Bits flipped, pieces cut out, doubled and exchanged: whatever comes of it, inspection ends with a verdict."""
    originals = [
        pdfs.document(pages=3, catalog="/Outlines 10 0 R", objects={10: "<< /First 11 0 R >>", 11: "<< /Title (a) >>"}),
        pdfs.with_stream(
            {
                1: "<< /Type /Catalog /Pages 2 0 R >>",
                2: "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
                3: "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] >>",
            }
        ),
        pdfs.updated(pdfs.signed(), {10: "<< /T (one) /FT /Sig >>"}),
        pdfs.hybrid(pdfs.document()),
        pdfs.pdfa(),
        pdfs.encrypted(pdfs.document(), user=""),
    ]
    originals += [path.read_bytes() for path in sorted(CORPUS.glob("*.pdf")) if path.stat().st_size < 20_000]
    for content in hostile.mutations(originals, MUTATIONS):
        judge(jail, folder, content)


def test_spoilt_answers_get_a_report(folder: Path) -> None:
    """The same with sealed PDFs: a report or a limit, never an exception."""
    originals = [path.read_bytes() for path in sorted(SEALS.rglob("*.pdf"))]
    assert originals
    path = folder / "answer.pdf"
    with Jail(1, JailLimits(wall_s=60.0, cpu_s=4), readable=[folder]) as jail:
        for content in hostile.mutations(originals, MUTATIONS // 10, seed=4):
            path.write_bytes(content)
            try:
                report = jail.run(verify_seal, path, Expectation(now=NOW))
            except JailLimitExceeded:
                continue
            assert len(report.checks) == 15


def test_a_report_quotes_nothing_of_what_it_reads(folder: Path) -> None:
    """A name without end in an answer gets neither into the report nor, through it, into ledger and reason file."""
    path = folder / "answer.pdf"
    field = f"<< /FT /Sig /T ({'x' * MIB}) /V (text) >>"
    path.write_bytes(pdfs.document(catalog="/AcroForm << /Fields [10 0 R] >>", objects={10: field}))
    failure = verify_seal(path, Expectation(now=NOW)).first_failure
    assert failure is not None
    assert failure.detail == "signature field 1 is filled with something that is not a signature"
    assert "xxx" not in str(failure)


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus is not beside this repository")
def test_the_jail_changes_no_verdict(jail: Jail) -> None:
    """All of the corpus is judged in a jail's child, which can do nothing else, as it is judged outside."""
    with (CORPUS / "index.csv").open(newline="") as index:
        paths = [CORPUS / row["file"] for row in csv.DictReader(index)]
    assert len(paths) > 100
    for path in paths:
        inside: Inspection = jail.run(inspect, path, Validation())
        assert inside == inspect(path, Validation()), path.name

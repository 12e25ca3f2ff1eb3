"""Publishing: nothing overwritten, nothing doubled, the receipt last."""

import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

import documents
from sealdrop import durable
from sealdrop.errors import Fatal, Retryable
from sealdrop.model import Companion, CompanionKind, Document, DocumentId, Earlier, FileIdentity, Reason, Sha256, State
from sealdrop.pipeline import deliver as module
from sealdrop.pipeline.deliver import NAME_MAX_BYTES, Sealed, clear_failed, fetch_back, give_back, names_for
from sealdrop.receipt import REASON_SUFFIX, RECEIPT_SUFFIX

ORIGINAL = b"%PDF-1.7"
SEALED = b"%PDF-1.7 sealed"
OTHER = b"%PDF-1.7 sealed, and another one"


def _digest(content: bytes) -> Sha256:
    return Sha256(hashlib.sha256(content).hexdigest())


def document(**changes: object) -> Document:
    """Return a document whose original is `ORIGINAL`."""
    return documents.document(**{"size_bytes": len(ORIGINAL), "sha256": _digest(ORIGINAL), **changes})


def verified(**changes: object) -> Document:
    """Return a document whose original is `ORIGINAL` and whose sealed PDF is `SEALED`."""
    facts = {"size_bytes": len(ORIGINAL), "sha256": _digest(ORIGINAL)}
    sealed_facts = {"sealed_size_bytes": len(SEALED), "sealed_sha256": _digest(SEALED)}
    return documents.verified(**{**facts, **sealed_facts, **changes})


def deliver(document: Document, sealed: Path, outbound: Path) -> str:
    """Deliver a single document; raise what is told of it."""
    (outcome,) = module.deliver([Sealed(document, sealed)], outbound)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    """A sealed PDF in the spool."""
    path = tmp_path / "spool.pdf"
    path.write_bytes(SEALED)
    return path


@pytest.fixture
def outbound(tmp_path: Path) -> Path:
    """An outbound folder."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def test_pdf_and_receipt_are_published(sealed: Path, outbound: Path) -> None:
    """Both stand under the document's name, sub-folders kept, and nothing else."""
    assert deliver(verified(name="2026/a.pdf"), sealed, outbound) == "2026/a.pdf"
    assert sorted(path.name for path in (outbound / "2026").iterdir()) == ["a.pdf", "a.pdf.receipt.json"]
    assert (outbound / "2026" / "a.pdf").read_bytes() == SEALED
    assert json.loads((outbound / "2026" / "a.pdf.receipt.json").read_text())["sealed"]["name"] == "2026/a.pdf"


def _file(path: Path) -> None:
    path.write_bytes(b"theirs")


def _link(path: Path) -> None:
    path.symlink_to(path.with_name("nowhere"))


@pytest.mark.parametrize("suffix", ["", RECEIPT_SUFFIX])
@pytest.mark.parametrize("put", [_file, _link, Path.mkdir, os.mkfifo])
def test_a_name_that_is_taken_gets_the_short_id(
    sealed: Path, outbound: Path, put: Callable[[Path], None], suffix: str
) -> None:
    """Whatever stands under the PDF's or the receipt's name stays; the document gets its short ID."""
    put(outbound / f"invoice.pdf{suffix}")
    assert deliver(verified(), sealed, outbound) == "invoice-00112233.pdf"
    assert (outbound / "invoice-00112233.pdf").read_bytes() == SEALED
    assert not (outbound / "nowhere").exists()
    if put is _file:
        assert (outbound / f"invoice.pdf{suffix}").read_bytes() == b"theirs"


def test_names_run_out_in_words(sealed: Path, outbound: Path) -> None:
    """If even the whole ID is taken, nothing is overwritten and the error says so."""
    for name in names_for(verified(), RECEIPT_SUFFIX):
        (outbound / name).write_bytes(b"theirs")
    with pytest.raises(Retryable, match="is taken"):
        deliver(verified(), sealed, outbound)


@contextmanager
def _crashing(monkeypatch: pytest.MonkeyPatch, before: int) -> Iterator[None]:
    """Have the process die before one of its links and flushes of folders, after so many others."""
    steps, crashed, unlink = 0, False, Path.unlink

    def counting(function: Callable[..., object]) -> Callable[..., object]:
        def step(*arguments: object, **options: object) -> object:
            nonlocal steps, crashed
            if steps == before:
                crashed = True
                raise KeyboardInterrupt
            steps += 1
            return function(*arguments, **options)

        return step

    def unlink_unless_dead(path: Path, *, missing_ok: bool = False) -> None:
        if not crashed:  # a process that has died clears nothing up
            unlink(path, missing_ok=missing_ok)

    with monkeypatch.context() as crashing:
        crashing.setattr(durable, "publish", counting(durable.publish))
        crashing.setattr(durable, "fsync_folder", counting(durable.fsync_folder))
        crashing.setattr(Path, "unlink", unlink_unless_dead)
        yield


@pytest.mark.parametrize("crash_before", [0, 1, 2, 3, 4, 5])
def test_a_crash_at_any_step_is_continued_and_not_doubled(
    sealed: Path, outbound: Path, monkeypatch: pytest.MonkeyPatch, crash_before: int
) -> None:
    """Cut off before each link and each folder flush, a second call finishes under the same name, with no leftover."""
    with _crashing(monkeypatch, crash_before):
        if crash_before < 4:
            with pytest.raises(KeyboardInterrupt):
                deliver(verified(), sealed, outbound)
            # The receipt never stands without the PDF.
            assert not (outbound / "invoice.pdf.receipt.json").exists() or (outbound / "invoice.pdf").exists()
        else:
            deliver(verified(), sealed, outbound)
    assert deliver(verified(), sealed, outbound) == "invoice.pdf"
    left = {path.name for path in outbound.iterdir()}
    assert left == {"invoice.pdf", "invoice.pdf.receipt.json"}


SEVERAL = [
    verified(
        id=DocumentId(f"20261123-{number:016x}"),
        name=name,
        sealed_size_bytes=len(content),
        sealed_sha256=_digest(content),
    )
    for number, (name, content) in enumerate(
        [("a.pdf", SEALED), ("b.pdf", SEALED), ("sub/c.pdf", SEALED), ("a.pdf", OTHER)], 1
    )
]


def _several(sealed: Path) -> list[Sealed]:
    other = sealed.with_name("other.pdf")
    other.write_bytes(OTHER)
    return [Sealed(each, other if each is SEVERAL[3] else sealed) for each in SEVERAL]


@pytest.mark.parametrize("crash_before", range(13))
def test_a_crash_while_several_are_published_doubles_none_of_them(
    sealed: Path, outbound: Path, monkeypatch: pytest.MonkeyPatch, crash_before: int
) -> None:
    """Cut off before each link and each folder flush: no receipt without its PDF, and all are there once in the end."""
    with _crashing(monkeypatch, crash_before), pytest.raises(KeyboardInterrupt):
        module.deliver(_several(sealed), outbound)
    names = {path.relative_to(outbound) for path in outbound.rglob("*.pdf*")}
    assert all(path.with_name(path.name.removesuffix(RECEIPT_SUFFIX)) in names for path in names)
    given = module.deliver(_several(sealed), outbound)
    assert len(set(given)) == len(SEVERAL)
    expected = {outbound / f"{name}{suffix}" for name in given for suffix in ("", RECEIPT_SUFFIX)}
    assert {path for path in outbound.rglob("*") if path.is_file()} == expected
    for each, name in zip(SEVERAL, given, strict=True):
        receipt = json.loads((outbound / f"{name}{RECEIPT_SUFFIX}").read_text())
        assert (receipt["document"], receipt["sealed"]["name"]) == (each.id, name)


def test_several_have_their_folder_flushed_once_for_pdfs_and_once_for_receipts(
    sealed: Path, outbound: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every PDF has its name, durably, before any receipt has; then these are made durable, before anything is said."""
    told: list[str] = []

    def noted(function: Callable[..., object], name: Callable[..., str]) -> Callable[..., object]:
        def step(*arguments: object) -> object:
            told.append(name(*arguments))
            return function(*arguments)

        return step

    monkeypatch.setattr(durable, "publish", noted(durable.publish, lambda _file, _temporary, final: final.name))
    monkeypatch.setattr(durable, "fsync_folder", noted(durable.fsync_folder, lambda folder: f"flush {folder.name}"))
    module.deliver([Sealed(each, sealed) for each in SEVERAL[:2]], outbound)
    assert told == ["a.pdf", "b.pdf", "flush out", f"a.pdf{RECEIPT_SUFFIX}", f"b.pdf{RECEIPT_SUFFIX}", "flush out"]


def test_one_that_cannot_be_published_keeps_no_other(sealed: Path, outbound: Path) -> None:
    """What is told of each document is its own: one was changed in the spool, one has a name that leads elsewhere."""
    changed = verified(id=DocumentId("20261123-00000000000000aa"), sealed_sha256=_digest(b"else"))
    leaving = verified(id=DocumentId("20261123-00000000000000bb"), name="../x.pdf")
    one, two, three, four = module.deliver(
        [Sealed(each, sealed) for each in (SEVERAL[0], changed, leaving, SEVERAL[1])], outbound
    )
    assert (one, four) == ("a.pdf", "b.pdf")
    assert isinstance(two, Retryable)
    assert isinstance(three, Fatal)
    assert sorted(path.name for path in outbound.iterdir()) == [
        "a.pdf",
        "a.pdf.receipt.json",
        "b.pdf",
        "b.pdf.receipt.json",
    ]


def test_a_folder_that_cannot_be_flushed_is_told_of_its_own_documents(
    sealed: Path, outbound: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No receipt is published where a PDF's name may not be durable; other folders' documents are."""
    flush = durable.fsync_folder

    def fail(folder: Path) -> None:
        if folder == outbound / "sub" and any(folder.iterdir()):
            raise OSError(errno.EIO, "Input/output error")
        flush(folder)

    monkeypatch.setattr(durable, "fsync_folder", fail)
    one, other = module.deliver([Sealed(SEVERAL[2], sealed), Sealed(SEVERAL[1], sealed)], outbound)
    assert isinstance(one, OSError)
    assert other == "b.pdf"
    assert [path.name for path in (outbound / "sub").iterdir()] == ["c.pdf"]


def test_what_may_be_in_anothers_way_goes_alone() -> None:
    """A name like a receipt's, a duplicate, and what would be too much at a time."""
    duplicate = replace(SEVERAL[1], duplicate_of=Earlier(SEVERAL[0].id, documents.NOW))
    receipt = replace(SEVERAL[1], name="a.pdf.receipt.json")
    large = replace(SEVERAL[1], sealed_size_bytes=module.TOGETHER_BYTES)
    plain = SEVERAL[0]
    assert list(module.go_together([plain, plain, duplicate, plain, receipt, plain, large, large, plain])) == [
        [plain, plain],
        [duplicate],
        [plain],
        [receipt],
        [plain],
        [large],
        [large],
        [plain],
    ]


def test_the_receipt_is_written_last(sealed: Path, outbound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sees the receipt finds the PDF."""
    written: list[str] = []
    put_new = durable.put_new

    def noted(content: Path | bytes, final: Path, *, tag: str, sha256: Sha256 | None) -> None:
        put_new(content, final, tag=tag, sha256=sha256)
        written.append(final.name)

    monkeypatch.setattr(module, "put_new", noted)
    deliver(verified(), sealed, outbound)
    failed = verified(state=State.FAILED, reason=Reason.SEAL_LEVEL, reason_detail="x", sha256=_digest(SEALED))
    give_back(failed, sealed, sealed, outbound / "..")
    assert written[:2] == ["invoice.pdf", "invoice.pdf.receipt.json"]
    assert written[-1].endswith(REASON_SUFFIX)


@pytest.mark.parametrize(
    "name",
    [
        "x" * 251 + ".pdf",
        "é" * 125 + ".pdf",
        "契" * 83 + ".pdf",
        "a" * 255,
        "sub/" + "b" * 242 + ".pdf",
        "." * 3 + "y" * 250,
    ],
)
def test_long_names_leave_room_for_their_companions(sealed: Path, outbound: Path, name: str) -> None:
    """A name too long for its receipt is cut at a whole character, keeps its extension, and gets the short ID."""
    given = deliver(verified(name=name), sealed, outbound)
    final = outbound / given
    assert len((final.name + RECEIPT_SUFFIX).encode()) <= NAME_MAX_BYTES
    assert final.read_bytes() == SEALED
    assert final.with_name(final.name + RECEIPT_SUFFIX).is_file()
    assert "00112233" in final.name
    assert final.name.endswith(".pdf") == name.endswith(".pdf")


@pytest.mark.parametrize("name", ["two\nlines.pdf", "q\"uo'te.pdf", "a\\b.pdf", "PDF", "-rf.pdf"])
def test_odd_names_are_kept(sealed: Path, outbound: Path, name: str) -> None:
    """A name that the file system takes is the name that comes out."""
    assert deliver(verified(name=name), sealed, outbound) == name
    assert (outbound / name).read_bytes() == SEALED


def test_a_rejected_original_comes_back_with_its_reason(tmp_path: Path, outbound: Path) -> None:
    """The original, a reason for people and one for programs; no sealed PDF where there is none."""
    original = tmp_path / "original"
    original.write_bytes(ORIGINAL)
    given = document(state=State.REJECTED, reason=Reason.NOT_PDF, reason_detail="no header")
    assert give_back(given, original, tmp_path / "none", outbound) == "invoice.pdf"
    assert sorted(path.name for path in outbound.iterdir()) == [
        "invoice.pdf",
        "invoice.pdf.reason.json",
        "invoice.pdf.reason.txt",
    ]


def test_a_failed_one_comes_back_with_what_was_sealed(tmp_path: Path, sealed: Path, outbound: Path) -> None:
    """What the service returned stands beside the original, and both reasons name it."""
    original = tmp_path / "original"
    original.write_bytes(ORIGINAL)
    given = verified(state=State.FAILED, reason=Reason.SEAL_LEVEL, reason_detail="level: found B")
    give_back(given, original, sealed, outbound)
    assert (outbound / "invoice.pdf").read_bytes() == ORIGINAL
    assert (outbound / "invoice.pdf.sealed.pdf").read_bytes() == SEALED
    assert json.loads((outbound / "invoice.pdf.reason.json").read_text())["sealed"]["name"] == "invoice.pdf.sealed.pdf"
    assert "invoice.pdf.sealed.pdf" in (outbound / "invoice.pdf.reason.txt").read_text()


def test_a_full_disk_leaves_no_half_file(sealed: Path, outbound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the content cannot be written, there is no file under the final name, and no temporary one."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable, "copy_hashed", full)
    with pytest.raises(OSError, match="No space"):
        deliver(verified(), sealed, outbound)
    assert list(outbound.iterdir()) == []


def test_a_name_that_became_free_does_not_double_a_document(
    sealed: Path, outbound: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was begun under the short ID is finished there, even if the better name can be had by now."""
    (outbound / "invoice.pdf").write_bytes(b"theirs")
    put_new = durable.put_new

    def crash(content: Path | bytes, final: Path, *, tag: str, sha256: Sha256 | None) -> None:
        if isinstance(content, bytes):
            raise KeyboardInterrupt
        put_new(content, final, tag=tag, sha256=sha256)

    with monkeypatch.context() as crashing:
        crashing.setattr(module, "put_new", crash)
        with pytest.raises(KeyboardInterrupt):
            deliver(verified(), sealed, outbound)
    (outbound / "invoice.pdf").unlink()
    assert deliver(verified(), sealed, outbound) == "invoice-00112233.pdf"
    assert sorted(path.name for path in outbound.iterdir()) == [
        "invoice-00112233.pdf",
        "invoice-00112233.pdf.receipt.json",
    ]


def test_a_receipt_of_an_earlier_version_is_known_as_ours(sealed: Path, outbound: Path) -> None:
    """After a crash and an upgrade the receipt would read differently; it is the document's all the same."""
    deliver(verified(), sealed, outbound)
    receipt = outbound / "invoice.pdf.receipt.json"
    receipt.write_text(json.dumps({**json.loads(receipt.read_text()), "kind": "older"}))
    assert deliver(verified(), sealed, outbound) == "invoice.pdf"
    assert len(list(outbound.iterdir())) == 2
    assert json.loads(receipt.read_text())["kind"] == "older"


def test_what_a_crash_left_under_a_temporary_name_goes(sealed: Path, outbound: Path) -> None:
    """A crash between the final name and the end of the temporary one leaves both; the second try clears it up."""
    deliver(verified(), sealed, outbound)
    leftover = outbound / f".sealdrop-{verified().id}.tmp"
    os.link(outbound / "invoice.pdf", leftover)
    deliver(verified(), sealed, outbound)
    assert not leftover.exists()


def test_a_file_that_changed_in_the_spool_is_not_published(sealed: Path, outbound: Path) -> None:
    """What was verified is what is published: a copy with another digest never gets a name."""
    sealed.write_bytes(SEALED.upper())
    with pytest.raises(Retryable, match="is not what it was"):
        deliver(verified(), sealed, outbound)
    assert list(outbound.iterdir()) == []


@pytest.mark.parametrize("put", [_file, _link, lambda path: path.symlink_to(path.parent)])
def test_something_in_the_place_of_a_subfolder(
    sealed: Path, outbound: Path, tmp_path: Path, put: Callable[[Path], None]
) -> None:
    """Where a sub-folder cannot be made, nothing is written through what stands there, and the document comes out."""
    put(outbound / "sub.pdf")
    given = deliver(verified(name="sub.pdf/deeper/a.pdf"), sealed, outbound)
    assert given == f"{verified().id}.pdf"
    assert (outbound / given).read_bytes() == SEALED
    assert sorted(path.name for path in outbound.iterdir()) == [given, given + RECEIPT_SUFFIX, "sub.pdf"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "spool.pdf"]
    assert deliver(verified(name="sub.pdf/deeper/a.pdf"), sealed, outbound) == given


@pytest.mark.parametrize("where", ["enter", "write"])
@pytest.mark.parametrize("error", [errno.EACCES, errno.EPERM])
def test_a_sub_folder_that_is_closed_to_us_closes_only_itself(
    sealed: Path, outbound: Path, monkeypatch: pytest.MonkeyPatch, where: str, error: int
) -> None:
    """What may not be entered or written to below outbound gives the document its ID; outbound itself must let us."""
    (outbound / "sub").mkdir()
    refusing, lstat, opened = outbound / "sub", os.lstat, os.open

    def refuse(path: Path) -> None:
        if Path(path).is_relative_to(refusing) and Path(path) != refusing:
            raise OSError(error, os.strerror(error), str(path))

    def looking(path: Path) -> os.stat_result:
        refuse(path)
        return lstat(path)

    def opening(path: Path, *arguments: int, **options: int) -> int:
        refuse(path)
        return opened(path, *arguments, **options)

    monkeypatch.setattr(os, "lstat" if where == "enter" else "open", looking if where == "enter" else opening)
    assert deliver(verified(name="sub/a.pdf"), sealed, outbound) == f"{verified().id}.pdf"
    refusing = outbound
    with pytest.raises(PermissionError):
        deliver(verified(name="sub/b.pdf", id="20261123-00112233445566ff"), sealed, outbound)


def test_a_path_that_is_too_long_for_the_outbound_folder(sealed: Path, outbound: Path) -> None:
    """Folders that fitted below inbound and do not fit below outbound are given up for the document's sake."""
    given = deliver(verified(name="/".join(["d" * 200] * 25) + "/a.pdf"), sealed, outbound)
    assert given == f"{verified().id}.pdf"
    assert (outbound / given).read_bytes() == SEALED


def test_a_name_that_the_file_system_does_not_know(
    sealed: Path, outbound: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A share that takes no line breaks in names gets the document under its ID."""
    link = os.link

    def picky(source: str, target: Path, **options: bool) -> None:
        if "\n" in str(target):
            raise OSError(errno.EINVAL, "Invalid argument")
        link(source, target, **options)

    monkeypatch.setattr(os, "link", picky)
    assert deliver(verified(name="two\nlines.pdf"), sealed, outbound) == f"{verified().id}.pdf"
    assert len(list(outbound.iterdir())) == 2


@pytest.mark.parametrize("name", ["../a.pdf", "sub/../../a.pdf", "/etc/a.pdf", "", "sub/.."])
def test_no_name_leads_out_of_the_folder(sealed: Path, outbound: Path, name: str) -> None:
    """No file in inbound has such a name: a ledger that says so is not to be trusted, and nothing is written."""
    with pytest.raises(Fatal, match="a name"):
        deliver(verified(name=name), sealed, outbound)
    assert list(outbound.iterdir()) == []


@pytest.mark.parametrize("name", ["a." + "b" * 250, "." + "c" * 254, "é" * 120 + "." + "é" * 7])
def test_a_long_ending_is_no_ending(sealed: Path, outbound: Path, name: str) -> None:
    """However long what stands behind the last dot is, the name is cut to what the file system takes."""
    given = deliver(verified(name=name), sealed, outbound)
    assert len((given + RECEIPT_SUFFIX).encode()) <= NAME_MAX_BYTES
    assert (outbound / given).read_bytes() == SEALED


def test_the_same_original_rejected_twice_comes_back_twice(tmp_path: Path, outbound: Path) -> None:
    """Two drops of one content are two documents, each with its own reason beside it."""
    original = tmp_path / "original"
    original.write_bytes(ORIGINAL)
    for number in range(2):
        given = document(id=f"20261123-0011223{number}aabbccdd", state=State.REJECTED, reason=Reason.EMPTY)
        give_back(given, original, tmp_path / "none", outbound)
    assert len(list(outbound.glob("*.reason.json"))) == 2
    assert len(list(outbound.glob("*.pdf"))) == 2


def test_what_stands_behind_a_link_is_not_delivered(sealed: Path, outbound: Path, tmp_path: Path) -> None:
    """The very same files, but in a folder to which a link in outbound leads, are not in outbound."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    given = verified(name="sub/a.pdf")
    deliver(given, sealed, elsewhere)
    (outbound / "sub").symlink_to(elsewhere / "sub")
    assert deliver(given, sealed, outbound) == f"{given.id}.pdf"
    assert (outbound / f"{given.id}.pdf").read_bytes() == SEALED


FAILED = {"state": State.FAILED, "reason": Reason.SEAL_LEVEL, "reason_detail": "level: found B"}


def _failed_before(tmp_path: Path, sealed: Path) -> tuple[Document, Path, Path]:
    """Give a failed document back; return it as it is then, the failed folder, and where its copy is to be again."""
    original, failed, copy = tmp_path / "original.pdf", tmp_path / "failed", tmp_path / "spool" / "original.pdf"
    original.write_bytes(ORIGINAL)
    for folder in (failed, copy.parent):
        folder.mkdir()
    document = verified(**FAILED)
    name = give_back(document, original, sealed, failed)
    return replace(document, state=State.RETRYING, published_name=name, retries=1), failed, copy


def test_an_original_is_fetched_back_and_what_was_billed_is_left(tmp_path: Path, sealed: Path) -> None:
    """For another try the original is in the spool again, its reason is gone, the sealed PDF stays until delivery."""
    document, failed, copy = _failed_before(tmp_path, sealed)
    assert fetch_back(document, copy, failed)
    assert copy.read_bytes() == ORIGINAL
    assert [path.name for path in failed.iterdir()] == ["invoice.pdf.sealed.pdf"]
    assert fetch_back(document, copy, failed)  # after a crash, once more
    clear_failed(document, sealed, failed)
    assert list(failed.iterdir()) == []


@pytest.mark.parametrize("stands", [None, b"something else", b"o" * len(ORIGINAL), "link", "folder"])
def test_nothing_but_the_original_is_fetched_back(tmp_path: Path, sealed: Path, stands: bytes | str | None) -> None:
    """What has taken the original's place is neither copied nor followed nor removed, and the reason stays."""
    document, failed, copy = _failed_before(tmp_path, sealed)
    place = failed / "invoice.pdf"
    place.rename(tmp_path / "away.pdf")
    match stands:
        case bytes():
            place.write_bytes(stands)
        case "link":
            place.symlink_to(tmp_path / "away.pdf")
        case "folder":
            place.mkdir()
        case _:
            pass
    before = sorted(failed.iterdir())
    assert not fetch_back(document, copy, failed)
    assert sorted(failed.iterdir()) == before
    assert list(copy.parent.iterdir()) == []


def test_a_crash_while_fetching_back_is_continued(
    tmp_path: Path, sealed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off at each removal, the same call goes on from there; the original is always in one place at least."""
    document, failed, copy = _failed_before(tmp_path, sealed)
    unlink, removals = Path.unlink, 0

    def crash(path: Path, *, missing_ok: bool = False) -> None:
        nonlocal removals
        if path.parent == failed:
            removals += 1
            if removals <= 3:
                raise KeyboardInterrupt
            assert copy.read_bytes() == ORIGINAL
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", crash)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            fetch_back(document, copy, failed)
    assert fetch_back(document, copy, failed)
    assert [path.name for path in failed.iterdir()] == ["invoice.pdf.sealed.pdf"]


def test_nothing_behind_a_link_is_fetched_back_or_cleared(tmp_path: Path, sealed: Path) -> None:
    """A link in the place of a sub-folder of the failed folder leads to nothing that is the document's."""
    original, failed, elsewhere = tmp_path / "original.pdf", tmp_path / "failed", tmp_path / "elsewhere"
    copy = tmp_path / "spool" / "original.pdf"
    original.write_bytes(ORIGINAL)
    for folder in (failed, elsewhere, copy.parent):
        folder.mkdir()
    document = verified(**FAILED, name="sub/a.pdf")
    document = replace(document, published_name=give_back(document, original, sealed, failed))
    (failed / "sub").rename(elsewhere / "sub")
    (failed / "sub").symlink_to(elsewhere / "sub")
    before = sorted((elsewhere / "sub").iterdir())
    assert not fetch_back(document, copy, failed)
    copy.write_bytes(ORIGINAL)  # as if a crash had come after it was copied
    assert fetch_back(document, copy, failed)
    clear_failed(document, sealed, failed)
    assert sorted((elsewhere / "sub").iterdir()) == before


@pytest.mark.parametrize("direction", ["out", "back"])
@pytest.mark.parametrize("fault", ["read", "write"])
def test_a_copy_that_fails_names_the_side_that_failed(
    tmp_path: Path, sealed: Path, outbound: Path, monkeypatch: pytest.MonkeyPatch, direction: str, fault: str
) -> None:
    """Reading and writing name no file by themselves, and the spool's trouble must not be taken for the folder's."""
    document, failed, copy = _failed_before(tmp_path, sealed)

    class Broken:
        def read(self, _: int, /) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

    def broken(source: durable.Readable, _: object) -> None:
        if fault == "write":
            raise OSError(errno.ENOSPC, "No space left on device")
        source._file = Broken()  # type: ignore[attr-defined]
        source.read(1)

    monkeypatch.setattr(durable if direction == "out" else module, "copy_hashed", broken)
    with pytest.raises(OSError, match=r"Input/output|No space") as caught:
        deliver(verified(), sealed, outbound) if direction == "out" else fetch_back(document, copy, failed)
    expected = {("out", "read"): sealed, ("out", "write"): None, ("back", "read"): failed / "invoice.pdf"}
    assert caught.value.filename == (str(where) if (where := expected.get((direction, fault), copy)) else None)


def test_another_sealed_pdf_is_not_cleared(tmp_path: Path, sealed: Path) -> None:
    """What came back the first time is kept in the failed folder if it is not what was delivered the second time."""
    document, failed, _ = _failed_before(tmp_path, sealed)
    sealed.write_bytes(SEALED + b"2")
    clear_failed(replace(document, sealed_sha256=_digest(SEALED + b"2")), sealed, failed)
    assert (failed / "invoice.pdf.sealed.pdf").read_bytes() == SEALED


def test_what_stands_already_is_made_durable(sealed: Path, outbound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second call that finds both files flushes their folder: the first may have been cut off before it did."""
    deliver(verified(name="2026/a.pdf"), sealed, outbound)
    flushed: list[Path] = []
    monkeypatch.setattr(module, "fsync_folder", flushed.append)
    deliver(verified(name="2026/a.pdf"), sealed, outbound)
    assert flushed == [outbound / "2026"]


def test_a_copy_that_is_found_is_flushed_before_anything_is_removed(
    tmp_path: Path, sealed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A try that was cut off after the copy had its name may not have made that durable: the next one does, first."""
    document, failed, copy = _failed_before(tmp_path, sealed)
    copy.write_bytes(ORIGINAL)
    flushed: list[tuple[Path, bool]] = []
    monkeypatch.setattr(
        module, "fsync_folder", lambda folder: flushed.append((folder, (failed / "invoice.pdf.reason.txt").exists()))
    )
    assert fetch_back(document, copy, failed)
    assert flushed[0] == (copy.parent, True)


SIDECAR = b'{"reference": "a"}'


def _with_sidecar(tmp_path: Path, **changes: object) -> tuple[Document, Path, dict[CompanionKind, Path]]:
    """Return a document that came with a sidecar, and where both stand in the spool."""
    (tmp_path / "spool").mkdir()
    original, sidecar = tmp_path / "spool" / "original.pdf", tmp_path / "spool" / "sidecar.json"
    original.write_bytes(ORIGINAL)
    sidecar.write_bytes(SIDECAR)
    came = Companion(CompanionKind.SIDECAR, FileIdentity.of(sidecar.stat()), _digest(SIDECAR))
    failed = {"state": State.FAILED, "reason": Reason.SEAL_FAILED, "reason_detail": "x", "companions": (came,)}
    return document(**{**failed, **changes}), original, {CompanionKind.SIDECAR: sidecar}


@pytest.mark.parametrize("taken", ["", "invoice.pdf", "invoice.pdf.json"])
def test_what_came_with_a_document_comes_back_under_a_name_that_belongs_to_it(
    tmp_path: Path, outbound: Path, taken: str
) -> None:
    """Where a name is taken by something else, document and sidecar get another together; both are as they came."""
    given, original, companions = _with_sidecar(tmp_path)
    if taken:
        (outbound / taken).write_bytes(b"theirs")
    name = give_back(given, original, tmp_path / "none", outbound, companions)
    assert name == ("invoice-00112233.pdf" if taken else "invoice.pdf")
    assert (outbound / name).read_bytes() == ORIGINAL
    assert (outbound / f"{name}.json").read_bytes() == SIDECAR
    assert give_back(given, original, tmp_path / "none", outbound, companions) == name
    assert len(list(outbound.iterdir())) == 4 + bool(taken)


@pytest.mark.parametrize("stands", [SIDECAR, b"changed meanwhile!", None])
def test_what_came_with_a_document_is_fetched_back_with_it(
    tmp_path: Path, outbound: Path, stands: bytes | None
) -> None:
    """A sidecar that stands as it came is copied and removed; one that was changed is left, and nobody needs it."""
    given, original, companions = _with_sidecar(tmp_path)
    name = give_back(given, original, tmp_path / "none", outbound, companions)
    for copy in (original, *companions.values()):
        copy.unlink()
    sidecar = outbound / f"{name}.json"
    if stands is None:
        sidecar.unlink()
    else:
        sidecar.write_bytes(stands)
    assert fetch_back(replace(given, published_name=name), original, outbound, companions)
    assert original.read_bytes() == ORIGINAL
    assert companions[CompanionKind.SIDECAR].exists() is (stands == SIDECAR)
    assert list(outbound.iterdir()) == ([sidecar] if stands not in (SIDECAR, None) else [])
    (outbound / "again").mkdir()
    left = {kind: copy for kind, copy in companions.items() if copy.exists()}
    give_back(given, original, tmp_path / "none", outbound / "again", left)
    assert (outbound / "again" / "invoice.pdf.json").exists() is (stands == SIDECAR)

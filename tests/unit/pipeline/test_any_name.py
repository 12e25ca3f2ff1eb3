"""Whatever a file is called, it is taken or told of, comes back inside its folder, and does nothing else."""

import io
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from documents import document, verified
from properties import tried
from sealdrop import logs
from sealdrop.durable import hash_file, tagged_name, temporary_name
from sealdrop.errors import Fatal
from sealdrop.events import EventName
from sealdrop.model import DocumentId, FileIdentity, Reason, State
from sealdrop.pipeline import notice
from sealdrop.pipeline.deliver import NAME_MAX_BYTES, SEALED_SUFFIX, Sealed, deliver, give_back, go_together, names_for
from sealdrop.pipeline.intake import NotTaken, Removal, Taken, remove_original, take
from sealdrop.pipeline.watch import is_ignored, list_files
from sealdrop.receipt import REASON_SUFFIX, REASON_TEXT_SUFFIX, RECEIPT_SUFFIX, Receipt
from sealdrop.wording import reason_text

SUFFIXES = (RECEIPT_SUFFIX, REASON_SUFFIX)

# What has surprised programs: options, shells, homes, terminals, direction marks, line separators, devices, companions.
SURPRISES = [
    "-rf",
    "--help",
    "$(reboot).pdf",
    "`id`.pdf",
    "a;b|c&d.pdf",
    "~",
    "~root",
    "...",
    "..pdf",
    "a..",
    ". .",
    " ",
    "*?[a-z].pdf",
    "%s%n.pdf",
    "{name}.pdf",
    "con.pdf",
    "a\\..\\b.pdf",
    "\x1b[2J\x07.pdf",
    "a\r\nb.pdf",
    "\u202efdp.exe",
    "\u2028\u2029\x85.pdf",
    "\ufeffa\u200d.pdf",
    "e\u0301.pdf",
    "\xe9.pdf",
    "a.pdf.receipt.json",
    "a.pdf.reason.json",
    "a.pdf.sealed.pdf",
    "a-00112233.pdf",
    "20261123-00112233aabbccdd.pdf",
    "[bold]a[red]",
    '"],"event":"forged',
]
texts = st.sampled_from(SURPRISES) | st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1)


def fitted(name: bytes) -> bytes:
    """A name as long as a file's can be, at most."""
    return name[:NAME_MAX_BYTES]


def long(piece: str) -> bytes:
    """The longest name of whole characters that is made of one piece."""
    return (piece * (NAME_MAX_BYTES // len(piece.encode()))).encode()


raw_names = (
    st.one_of(
        texts.map(lambda text: fitted(text.encode())),
        st.binary(min_size=1, max_size=NAME_MAX_BYTES).map(lambda name: name.replace(b"/", b"").replace(b"\0", b"")),
        st.sampled_from(["a", "é", "契", "\U0001f4c4", "e\u0301", "\u202e"]).map(long),
        st.tuples(st.sampled_from(["契", "\U0001f4c4", "a"]), st.sampled_from([".pdf", ".PDF", ".p\u0301df"])).map(
            lambda pair: long(pair[0])[: -len(pair[1].encode()) - 2].decode(errors="ignore").encode() + pair[1].encode()
        ),
    )
).filter(lambda name: name not in (b"", b".", b".."))


def as_text(name: bytes) -> str | None:
    """The name, where it is Unicode."""
    try:
        return name.decode()
    except UnicodeDecodeError:
        return None


unicode_names = raw_names.map(as_text).filter(lambda name: name is not None).map(str)


@tried(400)
@given(st.lists(unicode_names, min_size=1, max_size=3), st.sampled_from(SUFFIXES))
@example(["a" * 242], RECEIPT_SUFFIX)
@example(["a-00112233.pdf"], RECEIPT_SUFFIX)
def test_the_names_that_a_document_may_get(parts: list[str], suffix: str) -> None:
    """They differ, stay in the document's own sub-folder, and leave room for every companion."""
    made = list(names_for(document(name="/".join(parts)), suffix))
    assert 3 <= len(set(made)) <= 4
    assert len(set(made)) == len(made) or parts[-1] == made[-1]  # it was given its document's ID by chance
    for name in made:
        path = PurePosixPath(name)
        assert not path.is_absolute()
        assert ".." not in path.parts
        assert path.parts[:-1] in (tuple(parts[:-1]), ())
        assert path.name not in ("", ".")
        for companion in ("", SEALED_SUFFIX, REASON_TEXT_SUFFIX, suffix):
            assert len((path.name + companion).encode()) <= NAME_MAX_BYTES


@tried(200)
@given(st.lists(unicode_names | st.sampled_from(["..", ""]), min_size=1, max_size=4))
def test_a_name_that_leads_out_stops_the_service(parts: list[str]) -> None:
    """A ledger in which somebody wrote a name that climbs is not believed."""
    name = "/".join(parts)
    climbs = ".." in parts or name.startswith("/") or not PurePosixPath(name).name
    try:
        made = [PurePosixPath(each) for each in names_for(document(name=name), RECEIPT_SUFFIX)]
    except Fatal:
        assert climbs
    else:
        assert not any(path.is_absolute() or ".." in path.parts for path in made)


@tried(300)
@given(unicode_names, st.integers(60, NAME_MAX_BYTES))
def test_a_tagged_name_keeps_its_tag(name: str, limit_bytes: int) -> None:
    """However long the name, the tag and a short ending stay, the rest is cut between characters."""
    tagged = tagged_name(name, "00112233", limit_bytes=limit_bytes)
    assert len(tagged.encode()) <= limit_bytes
    assert "-00112233" in tagged
    assert "/" not in tagged
    assert "\0" not in tagged
    assert tagged not in ("", ".", "..")


def _id(number: int) -> DocumentId:
    return DocumentId(f"20261123-{number:08x}aabbccdd")


@contextmanager
def places() -> Iterator[tuple[Path, Path, Path]]:
    """An inbound folder, one for what comes out, one for copies; something beside them must not change."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for folder in ("in", "out", "spool"):
            (root / folder).mkdir()
        (root / "beside").write_bytes(b"beside")
        yield root / "in", root / "out", root / "spool"
        assert (root / "beside").read_bytes() == b"beside"
        assert sorted(path.name for path in root.iterdir()) == ["beside", "in", "out", "spool"]


def _take(inbound: Path, path: Path, copy: Path) -> Taken | NotTaken:
    taken = take(inbound, path, copy, seen=FileIdentity.of(path.lstat()))
    assert isinstance(taken, Taken | NotTaken)
    return taken


@tried(100)
@given(raw_names, st.sampled_from([b"", b"sub/", b"\xc3\xa9/-rf/"]), st.booleans())
def test_any_file_is_taken_and_comes_back(name: bytes, folder: bytes, failed: bool) -> None:
    """A file of any name is listed once, taken or told of, removed alone, and comes back whole with its companion."""
    with places() as (inbound, outbound, spool):
        path = Path(os.fsdecode(os.fsencode(inbound) + b"/" + folder + name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%PDF-1.7 it")
        beside = path.with_name("beside.pdf" if path.name != "beside.pdf" else "other.pdf")
        beside.write_bytes(b"%PDF-1.7 beside")
        listed = list(list_files(inbound, subfolders=True))
        assert listed.count(path) == (0 if is_ignored(path.name) else 1)
        copy = spool / "original.pdf"
        taken = _take(inbound, path, copy)
        if as_text(name) is None:
            assert isinstance(taken, NotTaken)
            assert taken.reason is Reason.NAME_INVALID
            notice.readable(taken.name).encode()  # it can be said, in a log or anywhere
            assert path.exists()
            assert list(spool.iterdir()) == []
            return
        assert isinstance(taken, Taken)
        assert taken.name.encode() == folder + name
        assert remove_original(inbound, taken.name, taken.identity, _id(1)) is Removal.REMOVED
        assert [each for each in inbound.rglob("*") if each.is_file()] == [beside]
        facts = {"id": _id(1), "name": taken.name, "sha256": taken.sha256, "size_bytes": taken.size_bytes}
        if failed:
            gone = document(
                **facts, state=State.FAILED, reason=Reason.SEAL_UNTRUSTED, reason_detail="x", sealed_sha256=taken.sha256
            )
            published = give_back(gone, copy, copy, outbound)
            suffixes = ["", SEALED_SUFFIX, REASON_TEXT_SUFFIX, REASON_SUFFIX]
        else:
            sealed = verified(**facts, sealed_sha256=taken.sha256, sealed_size_bytes=taken.size_bytes)
            (published,) = deliver([Sealed(sealed, copy)], outbound)
            assert isinstance(published, str)
            suffixes = ["", RECEIPT_SUFFIX]
            receipt = Receipt.model_validate_json((outbound / (published + RECEIPT_SUFFIX)).read_bytes())
            assert (receipt.original.name, receipt.sealed.name) == (taken.name, published)
        expected = {outbound / (published + suffix) for suffix in suffixes}
        assert {each for each in outbound.rglob("*") if not each.is_dir()} == expected
        assert (outbound / published).read_bytes() == b"%PDF-1.7 it"


@tried(50)
@given(
    st.lists(
        unicode_names | st.sampled_from(["a.pdf", "a.pdf.receipt.json", "a.pdf.reason.json", "a-00000001.pdf"]),
        min_size=2,
        max_size=5,
    ),
    st.booleans(),
)
@example(["a.pdf.receipt.json", "a.pdf", "a.pdf", "a-00000001.pdf"], False)
@example(["a.pdf", "a.pdf", "a.pdf.receipt.json", "a.pdf.receipt.json", "a-00000002.pdf"], False)
@example(["a.pdf.reason.json", "a.pdf.sealed.pdf", "a.pdf"], True)
def test_documents_never_take_each_others_names(names: list[str], failed: bool) -> None:
    """However names and companions collide, each document and each companion stands there whole, under its own name."""
    with places() as (_, outbound, spool):
        published: list[str | Exception] = []
        copies: dict[DocumentId, Path] = {}
        verified_ones = []
        for number, name in enumerate(names, 1):
            copy = spool / str(number)
            copy.write_bytes(b"%%PDF-1.7 %d" % number)
            size_bytes, sha256 = hash_file(copy)
            facts = {"id": _id(number), "name": name, "sha256": sha256, "size_bytes": size_bytes}
            if failed:
                facts |= {"state": State.FAILED, "reason": Reason.SEAL_UNTRUSTED, "reason_detail": "x"}
                published.append(give_back(document(**facts), copy, spool / "none", outbound))
            else:
                verified_ones.append(verified(**facts, sealed_sha256=sha256, sealed_size_bytes=size_bytes))
                copies[_id(number)] = copy
        for together in go_together(verified_ones):
            published += deliver([Sealed(each, copies[each.id]) for each in together], outbound)
        assert len(set(published)) == len(names)
        assert len([each for each in outbound.rglob("*") if each.is_file()]) == len(names) * (3 if failed else 2)
        for number, name in enumerate(published, 1):
            assert isinstance(name, str)
            assert (outbound / name).read_bytes() == b"%%PDF-1.7 %d" % number
            companion = outbound / (name + (REASON_SUFFIX if failed else RECEIPT_SUFFIX))
            assert json.loads(companion.read_text())["document"] == _id(number)


@tried(200)
@given(unicode_names)
def test_what_people_read_is_lines_of_text(name: str) -> None:
    """A reason's text shows a name without obeying it: its lines are as many as with any other name."""
    told = document(name=name, state=State.REJECTED, reason=Reason.EMPTY, reason_detail="0 bytes")
    text = reason_text(told, None)
    assert all(character == "\n" or character.isprintable() for character in text)
    assert text.count("\n") == reason_text(replace(told, name="a.pdf"), None).count("\n")


@pytest.mark.usefixtures("log_as_before")
@pytest.mark.parametrize("form", ["json", "console"])
def test_a_name_is_one_line_of_the_log(form: str) -> None:
    """Any name, also as the system's error quotes it, is one line, and in JSON the same name again."""
    out = io.StringIO()
    logs.configure(form, "debug", out)  # type: ignore[arg-type]

    @tried(200)
    @given(raw_names)
    def say(raw: bytes) -> None:
        out.seek(0)
        out.truncate()
        name = os.fsdecode(raw)
        error = str(FileNotFoundError(2, "No such file", name))
        logs.get().warning(EventName.FILE_NOT_TAKEN, folder="invoices", name=name, detail=error)
        line = out.getvalue()
        assert line.endswith("\n")
        assert line.count("\n") == 1
        assert len(line.splitlines()) == 1 or form == "json"
        if form == "json":
            assert json.loads(line)["name"] == name

    say()


def test_our_own_names_are_not_taken_for_drops() -> None:
    """A temporary name of ours is hidden, so that no sweep takes it for a file that somebody dropped."""
    assert is_ignored(temporary_name(_id(1)))

"""The verdicts of `sealdrop.pdf.inspect`: every reason, their order, and what a folder's rules make of them."""

import errno
from pathlib import Path

import pytest
from reportlab.pdfgen.canvas import Canvas

import pdfs
from sealdrop.config import DEFAULT_RULES, FIXED_RULES, Validation
from sealdrop.model import Finding, Inspection, Reason, Verdict
from sealdrop.pdf import content, forms
from sealdrop.pdf import inspect as module
from sealdrop.pdf.inspect import inspect

R = Reason
LAUNCH = {"catalog": "/OpenAction << /S /Launch /F (x) >>"}
MASKED = {
    "page": "/Resources << /XObject << /I 10 0 R >> >>",
    "objects": {
        10: pdfs.stream("x", "/Subtype /Image /Width 1 /Height 1 /SMask 11 0 R"),
        11: pdfs.stream("x", "/Subtype /Image /Width 1 /Height 1"),
    },
}


def judge(folder: Path, document: bytes, **rules: object) -> Inspection:
    """Inspect ``document``, written to a file in ``folder``."""
    path = folder / "document.pdf"
    path.write_bytes(document)
    return inspect(path, Validation.model_validate(rules))


def cause(inspection: Inspection) -> Reason | None:
    """Return the code of the reason for rejection."""
    return inspection.cause.code if inspection.cause is not None else None


def codes(findings: tuple[Finding, ...]) -> list[Reason]:
    """Return the codes of findings, in their order."""
    return [finding.code for finding in findings]


def canvas_pdf(folder: Path) -> bytes:
    """Return a PDF of two pages as a library makes it."""
    path = folder / "canvas.pdf"
    canvas = Canvas(str(path))
    for number in range(2):
        canvas.drawString(100, 700, f"page {number}")
        canvas.showPage()
    canvas.save()
    return path.read_bytes()


def test_a_good_document_is_accepted_with_its_facts(tmp_path: Path) -> None:
    """A plain PDF passes without any finding, and its pages and version are told."""
    inspection = judge(tmp_path, canvas_pdf(tmp_path))
    assert inspection == Inspection(Verdict.ACCEPT, pages=2, pdf_version=inspection.pdf_version)
    assert inspection.pdf_version.startswith("1.")


def test_a_handwritten_document_is_accepted(tmp_path: Path) -> None:
    """The documents that these tests spoil are good before they are spoilt."""
    assert judge(tmp_path, pdfs.document()) == Inspection(Verdict.ACCEPT, pages=1, pdf_version="1.7")


def test_the_catalog_may_raise_the_version(tmp_path: Path) -> None:
    """The later of header and catalog is the version."""
    assert judge(tmp_path, pdfs.document(catalog="/Version /2.0")).pdf_version == "2.0"
    assert judge(tmp_path, pdfs.document(catalog="/Version /1.3")).pdf_version == "1.7"


def _rejected() -> dict[str, tuple[Reason, bytes]]:
    good = pdfs.document()
    startxref = good.rindex(b"startxref")
    return {
        "empty": (R.EMPTY, b""),
        "no header": (R.NOT_PDF, good.replace(b"%PDF-1.7", b"%PNG-1.7")),
        "late header": (R.NOT_PDF, b" " * 1024 + good),
        "password": (R.ENCRYPTED_USER, pdfs.encrypted(good, user="secret")),
        "password, old cipher": (R.ENCRYPTED_USER, pdfs.encrypted(good, user="secret", algorithm="RC4-128")),
        "owner password": (R.ENCRYPTED_OWNER, pdfs.encrypted(good, user="")),
        "broken encryption": (
            R.ENCRYPTED_OWNER,
            pdfs.document(objects={10: "<< /Filter /Standard /V 99 >>"}, trailer="/Encrypt 10 0 R"),
        ),
        "public key": (
            R.ENCRYPTED_UNSUPPORTED,
            pdfs.document(objects={10: "<< /Filter /Adobe.PubSec /V 1 >>"}, trailer="/Encrypt 10 0 R"),
        ),
        "leading line": (R.HEADER_OFFSET, b"\n" + good),
        "no end of file": (R.TRUNCATED, good[: good.rindex(b"%%EOF")]),
        "end of file too early": (R.TRUNCATED, good + b"x" * 1024),
        "no startxref": (R.TRUNCATED, good.replace(b"startxref", b"farbageno")),
        "cut in half": (R.TRUNCATED, good[: len(good) // 2]),
        "no page tree": (R.UNREADABLE, pdfs.with_table({1: "<< /Type /Catalog >>"})),
        "nothing behind the header": (R.UNREADABLE, b"%PDF-1.7\nstartxref\n0\n%%EOF\n"),
        "no pages": (R.ZERO_PAGES, pdfs.document(pages=0)),
        "startxref beside": (
            R.XREF_BROKEN,
            good[:startxref] + b"startxref\n%d\n%%%%EOF\n" % (good.index(b"trailer")),
        ),
        "certified": (
            R.CERTIFIED_NO_CHANGES,
            pdfs.signed(reference="/Reference [<< /TransformMethod /DocMDP /TransformParams << /P 1 >> >>]"),
        ),
        "dynamic XFA": (R.XFA_DYNAMIC, pdfs.document(catalog="/NeedsRendering true")),
        "launch": (R.ACTIVE_CONTENT, pdfs.document(**LAUNCH)),
        "page tree of direct objects": (
            R.UNSEALABLE,
            pdfs.with_table(
                {
                    1: "<< /Type /Catalog /Pages 2 0 R >>",
                    2: "<< /Type /Pages /Count 1 /Kids [<< /Type /Page /Parent 2 0 R >>] >>",
                }
            ),
        ),
    }


@pytest.mark.parametrize("name", _rejected())
def test_rejected_by_default(tmp_path: Path, name: str) -> None:
    """Each reason for rejection is found where it applies, and said with a detail for people."""
    code, document = _rejected()[name]
    inspection = judge(tmp_path, document)
    assert (inspection.verdict, cause(inspection)) == (Verdict.REJECT, code)
    assert inspection.cause is not None
    assert inspection.cause.detail
    assert not inspection.warnings
    assert not inspection.notes


def test_too_large(tmp_path: Path) -> None:
    """A file over the folder's limit is not read; one of exactly the limit is."""
    good = pdfs.document()
    mib = len(good) / (1 << 20)
    assert cause(judge(tmp_path, good, max_mib=mib / 2)) is R.TOO_LARGE
    assert judge(tmp_path, good, max_mib=mib).verdict is Verdict.ACCEPT


def test_too_many_pages(tmp_path: Path) -> None:
    """The folder's limit on pages holds, is itself allowed, and can be made a warning."""
    three = pdfs.document(pages=3)
    warned = judge(tmp_path, three, max_pages=2, rules={R.TOO_MANY_PAGES: "warn"})
    assert (warned.verdict, [finding.code for finding in warned.warnings]) == (Verdict.ACCEPT, [R.TOO_MANY_PAGES])
    rejected = judge(tmp_path, three, max_pages=2)
    assert (cause(rejected), rejected.pages) == (R.TOO_MANY_PAGES, 3)
    assert judge(tmp_path, three, max_pages=3).verdict is Verdict.ACCEPT


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (pdfs.encrypted(b"" + pdfs.document(), user="secret").replace(b"%%EOF", b"%%EOX"), R.ENCRYPTED_USER),
        (b"\n" + pdfs.document()[:-20], R.HEADER_OFFSET),
        (pdfs.document(pages=0, catalog="/NeedsRendering true"), R.ZERO_PAGES),
        (pdfs.document(catalog="/NeedsRendering true /OpenAction << /S /Launch >>"), R.XFA_DYNAMIC),
        (pdfs.document(**{**MASKED, **LAUNCH}), R.ACTIVE_CONTENT),
    ],
)
def test_the_first_reason_decides(tmp_path: Path, document: bytes, code: Reason) -> None:
    """Where several reasons apply, the first of validation.md is given."""
    assert cause(judge(tmp_path, document)) is code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValueError("secret content"), R.UNREADABLE),
        (KeyError("/Pages"), R.UNREADABLE),
        (RecursionError(), R.UNREADABLE),
        (OSError(errno.EINVAL, "a seek to before the start"), R.UNREADABLE),
        (MemoryError(), R.PARSER_LIMIT),
    ],
)
def test_whatever_the_parser_raises_is_a_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, code: Reason
) -> None:
    """No exception of a library gets out, and none of its text into the detail."""

    def fail(_: object) -> None:
        raise error

    monkeypatch.setattr(module, "read_form", fail)
    inspection = judge(tmp_path, pdfs.document())
    assert cause(inspection) is code
    assert inspection.cause is not None
    assert "secret" not in inspection.cause.detail


def test_a_disk_error_is_no_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A document is not rejected because its disk failed."""

    def fail(_: object) -> None:
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(module, "read_form", fail)
    with pytest.raises(OSError, match="input/output"):
        judge(tmp_path, pdfs.document())


def test_a_missing_file_is_no_verdict(tmp_path: Path) -> None:
    """A file that is not there is the caller's matter."""
    with pytest.raises(FileNotFoundError):
        inspect(tmp_path / "nothing.pdf", Validation())


@pytest.mark.parametrize(("limited", "name"), [(content, "MAX_NODES"), (content, "MAX_CHAIN"), (forms, "MAX_FIELDS")])
def test_counts_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limited: object, name: str) -> None:
    """A document with more objects, actions or fields than the limit is given up on, not followed part of the way."""
    monkeypatch.setattr(limited, name, 3)
    fields = " ".join(f"{number} 0 R" for number in range(10, 15))
    objects = {number: f"<< /T (f{number}) /FT /Tx /S /GoTo /Next {number + 1} 0 R >>" for number in range(10, 15)}
    document = pdfs.document(catalog=f"/AcroForm << /Fields [{fields}] >> /OpenAction 10 0 R", objects=objects)
    assert cause(judge(tmp_path, document)) is R.PARSER_LIMIT


def _changeable() -> dict[Reason, bytes]:
    """A document for each rule that a folder can change."""
    good = pdfs.document()
    certified = pdfs.signed(reference="/Reference [<< /TransformMethod /DocMDP /TransformParams << /P 2 >> >>]")
    rejected = {code: document for code, document in _rejected().values() if code not in FIXED_RULES}
    return {
        **rejected,
        R.ENCRYPTED_OWNER: pdfs.encrypted(good, user=""),
        R.IMAGE_TRANSPARENCY: pdfs.document(**MASKED),
        R.ALREADY_SIGNED: pdfs.signed(),
        R.CERTIFIED: certified,
        R.PDFA_CLAIM: pdfs.pdfa(),
        R.ATTACHMENTS: pdfs.document(
            catalog="/Names << /EmbeddedFiles << /Names [(a) 10 0 R] >> >>",
            objects={10: "<< /Type /Filespec /EF << /F 11 0 R >> >>", 11: pdfs.stream("x")},
        ),
        R.INTERACTIVE_CONTENT: pdfs.document(page="/Annots [<< /Subtype /Widget /A << /S /JavaScript /JS (1) >> >>]"),
        R.XREF_LENIENT: good.replace(b"\n0 1\n0000000000", b"\n0   1\n0000000000"),
        R.TRAILING_DATA: good + b"\0\0\0",
        R.USAGE_RIGHTS: pdfs.document(catalog="/Perms << /UR3 << /Type /Sig >> >>"),
        R.XFA_STATIC: pdfs.document(catalog="/AcroForm << /XFA 10 0 R >>", objects={10: pdfs.stream("<xdp/>")}),
        R.PORTFOLIO: pdfs.document(catalog="/Collection << /View /D >>"),
        R.HYBRID_XREF: pdfs.hybrid(good),
        R.OTHER_TRANSPARENCY: pdfs.document(page="/Resources << /ExtGState << /G << /ca 0.5 >> >> >>"),
        R.LAYERS: pdfs.document(catalog="/OCProperties << /OCGs [] /D << >> >>"),
    }


def test_each_rule_that_can_be_changed_is_tried() -> None:
    """No rule of the configuration is without a document here, and there is none more."""
    assert set(_changeable()) == set(DEFAULT_RULES) - {R.TOO_MANY_PAGES}  # which has a test with its limit


@pytest.mark.parametrize("code", [code for code in DEFAULT_RULES if code is not R.TOO_MANY_PAGES])
@pytest.mark.parametrize("rule", ["reject", "warn", "allow"])
def test_a_rule_decides(tmp_path: Path, code: Reason, rule: str) -> None:
    """What a folder's rule says of a finding is what becomes of it: reason, warning or note."""
    # Whatever else such a document brings with it must not get in the way.
    others = dict.fromkeys(set(DEFAULT_RULES) - {code}, "allow")
    inspection = judge(tmp_path, _changeable()[code], rules={**others, code: rule})
    if rule == "reject":
        assert cause(inspection) is code
    else:
        assert inspection.verdict is Verdict.ACCEPT
        assert code in codes(inspection.warnings if rule == "warn" else inspection.notes)
        assert code not in codes(inspection.notes if rule == "warn" else inspection.warnings)


@pytest.mark.parametrize("code", [code for code, rule in DEFAULT_RULES.items() if rule != "reject"])
def test_warned_of_or_noted_by_default(tmp_path: Path, code: Reason) -> None:
    """What is not rejected by default is accepted, and said where the default says."""
    inspection = judge(tmp_path, _changeable()[code])
    assert inspection.verdict is Verdict.ACCEPT
    assert code in codes(inspection.warnings if DEFAULT_RULES[code] == "warn" else inspection.notes)


def test_findings_come_in_the_order_of_the_rules(tmp_path: Path) -> None:
    """Several warnings and notes come in the order of validation.md."""
    document = pdfs.document(**{**MASKED, "catalog": "/Collection << >> /OCProperties << >> /Perms << /UR3 << >> >>"})
    inspection = judge(tmp_path, document + b"junk")
    assert codes(inspection.warnings) == [R.IMAGE_TRANSPARENCY, R.TRAILING_DATA, R.USAGE_RIGHTS, R.PORTFOLIO]
    assert codes(inspection.notes) == [R.LAYERS]


def test_an_encrypted_document_is_looked_into_where_it_is_allowed(tmp_path: Path) -> None:
    """Where encryption without a password is allowed, all later checks see the decrypted document."""
    encrypted = pdfs.encrypted(pdfs.document(**LAUNCH), user="")
    assert cause(judge(tmp_path, encrypted, rules={R.ENCRYPTED_OWNER: "allow"})) is R.ACTIVE_CONTENT
    good = judge(tmp_path, pdfs.encrypted(pdfs.document(), user=""), rules={R.ENCRYPTED_OWNER: "warn"})
    assert (good.verdict, codes(good.warnings), good.pages) == (Verdict.ACCEPT, [R.ENCRYPTED_OWNER], 1)


def test_inspection_leaves_the_file_as_it_is(tmp_path: Path) -> None:
    """The trial with an update writes nothing to the file or beside it."""
    good = pdfs.document()
    judge(tmp_path, good)
    assert [path.name for path in tmp_path.iterdir()] == ["document.pdf"]
    assert (tmp_path / "document.pdf").read_bytes() == good

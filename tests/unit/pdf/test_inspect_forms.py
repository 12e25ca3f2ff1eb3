"""What inspection reads from forms and permissions: signatures, certification, locks, usage rights, XFA."""

import io

import pytest
from pypdf import PdfReader

import pdfs
from sealdrop.pdf.forms import Form, read_form

NOTHING = Form(signatures=0, certified=None, locked=False, usage_rights=False, xfa=False, xfa_dynamic=False)


def form(document: bytes) -> Form:
    """Return what is said of the document's form."""
    return read_form(PdfReader(io.BytesIO(document)).root_object)


def reference(method: str, permission: str) -> str:
    """Return the reference of a signature that restricts changes."""
    return f"/Reference [<< /TransformMethod /{method} /TransformParams << {permission} >> >>]"


def test_a_document_without_a_form() -> None:
    """Nothing is read into a plain document."""
    assert form(pdfs.document()) == NOTHING


def test_only_filled_fields_are_signatures() -> None:
    """A field that waits for its signature is none."""
    assert form(pdfs.signed()).signatures == 1
    assert form(pdfs.signed(filled=False)) == NOTHING


def test_fields_inherit_and_end() -> None:
    """Type and value come from a field's parents, widgets are not counted, and a cycle of fields ends."""
    document = pdfs.document(
        catalog="/AcroForm << /Fields [10 0 R 13 0 R 10 0 R] >>",
        objects={
            10: "<< /T (top) /FT /Sig /Kids [11 0 R 12 0 R 10 0 R] >>",
            11: "<< /T (a) /V << /Type /Sig >> /Kids [<< /Subtype /Widget >> << /Subtype /Widget >>] >>",
            12: "<< /T (b) >>",
            13: "<< /T (text) /FT /Tx /V << /Type /Sig >> >>",
        },
    )
    assert form(document).signatures == 1


@pytest.mark.parametrize(
    ("document", "certified"),
    [
        (pdfs.signed(reference=reference("DocMDP", "/P 1")), 1),
        (pdfs.signed(reference=reference("DocMDP", "/P 3")), 3),
        (pdfs.signed(reference=reference("DocMDP", "")), 2),
        (pdfs.signed(reference=reference("FieldMDP", "/P 1")), 1),
        (pdfs.signed(reference=reference("FieldMDP", "/Action /All")), None),
        (pdfs.signed(reference=reference("DocMDP", "/P 1"), filled=False), None),
        (pdfs.signed(catalog="/Perms << /DocMDP 11 0 R >>"), 2),
        (pdfs.signed(reference=reference("DocMDP", "/P 1"), catalog="/Perms << /DocMDP 11 0 R >>", filled=False), 1),
    ],
)
def test_certification(document: bytes, certified: int | None) -> None:
    """What a certification permits is found at its signature, by way of the field or of the permissions."""
    assert form(document).certified == certified


@pytest.mark.parametrize(("lock", "locked"), [("/P 1", True), ("/P 2", False), ("/Action /All", False)])
def test_locks(lock: str, locked: bool) -> None:
    """A signature field's lock counts if it forbids every change."""
    assert form(pdfs.signed(lock=f"/Lock << /Type /SigFieldLock {lock} >>")).locked is locked


@pytest.mark.parametrize("key", ["/UR", "/UR3"])
def test_usage_rights(key: str) -> None:
    """Both spellings of usage rights are known."""
    assert form(pdfs.document(catalog=f"/Perms << {key} << /Type /Sig >> >>")).usage_rights


@pytest.mark.parametrize(
    ("catalog", "packet", "dynamic"),
    [
        ("/AcroForm << /XFA 10 0 R >>", "<xdp/>", False),
        ("/AcroForm << /XFA 10 0 R >>", "<a:dynamicRender\n>required</a:dynamicRender>", True),
        ("/AcroForm << /XFA 10 0 R >>", "<dynamicRender>forbidden</dynamicRender>", False),
        ("/AcroForm << /XFA [(config) 10 0 R (data) 4 0 R] >>", "<dynamicRender>required</dynamicRender>", True),
        ("/AcroForm << /XFA [(config) 10 0 R] >> /NeedsRendering true", "<xdp/>", True),
        ("/AcroForm << /XFA [(config) 10 0 R] >> /NeedsRendering false", "<xdp/>", False),
    ],
)
def test_xfa(catalog: str, packet: str, dynamic: bool) -> None:
    """An XFA form is dynamic if it, or the catalog, asks to be rendered."""
    found = form(pdfs.document(catalog=catalog, objects={10: pdfs.stream(packet)}))
    assert (found.xfa, found.xfa_dynamic) == (True, dynamic)

"""What inspection finds on its walk through a document: what is active, transparent, attached, interactive."""

import io
from collections.abc import Mapping

import pytest
from pypdf import PdfReader

import pdfs
from sealdrop.model import Finding, Reason
from sealdrop.pdf.content import survey

R = Reason
SCRIPT = "<< /S /JavaScript /JS (app.alert\\(1\\)) >>"
WIDGET = "/Type /Annot /Subtype /Widget /Rect [0 0 9 9]"


def found(document: bytes) -> Mapping[Reason, Finding]:
    """Return what the walk finds in ``document``."""
    return survey(PdfReader(io.BytesIO(document)))


def outline(action: str) -> bytes:
    """Return a document with a bookmark that has ``action``, in an outline whose items point at each other."""
    return pdfs.document(
        catalog="/Outlines 10 0 R",
        objects={
            10: "<< /First 11 0 R /Last 12 0 R >>",
            11: "<< /Title (a) /Parent 10 0 R /Next 12 0 R /Prev 12 0 R >>",
            12: f"<< /Title (b) /Parent 10 0 R /Next 11 0 R /Prev 11 0 R /A {action} >>",
        },
    )


ACTIVE = {
    "script on opening": pdfs.document(catalog=f"/OpenAction {SCRIPT}"),
    "script after the open action": pdfs.document(
        catalog="/OpenAction 10 0 R",
        objects={10: f"<< /S /GoTo /D [3 0 R /Fit] /Next [<< /S /GoTo >> {SCRIPT}] >>"},
    ),
    "script in a rendition on opening": pdfs.document(catalog="/OpenAction << /S /Rendition /JS (1) >>"),
    "named script": pdfs.document(
        catalog="/Names << /JavaScript 10 0 R >>",
        objects={10: "<< /Kids [11 0 R] >>", 11: f"<< /Names [(a) {SCRIPT}] >>"},
    ),
    "script before printing": pdfs.document(catalog=f"/AA << /WP {SCRIPT} >>"),
    "script on a page's opening": pdfs.document(page=f"/AA << /O {SCRIPT} >>"),
    "script on an annotation's page": pdfs.document(page=f"/Annots [<< {WIDGET} /AA << /PV {SCRIPT} >> >>]"),
    "launch behind a click": pdfs.document(page="/Annots [<< /Subtype /Link /A << /S /Launch /F (x) >> >>]"),
    "launch in the outline": outline("<< /S /Launch /F (x) >>"),
    "launch after another action": outline("<< /S /GoTo /Next << /S /Launch /F (x) >> >>"),
    "import": pdfs.document(page=f"/Annots [<< {WIDGET} /A << /S /ImportData /F (x) >> >>]"),
    "stream elsewhere": pdfs.document(
        page="/Resources << /XObject << /I 10 0 R >> >>",
        objects={10: pdfs.stream("", "/Subtype /Image /F (other.bin) /FFilter /FlateDecode")},
    ),
}


@pytest.mark.parametrize("name", ACTIVE)
def test_active_content_is_found(name: str) -> None:
    """What runs or loads by itself, or starts something, is found wherever it hides."""
    assert R.ACTIVE_CONTENT in found(ACTIVE[name])


INTERACTIVE = {
    "script behind a click": pdfs.document(page=f"/Annots [<< {WIDGET} /A {SCRIPT} >>]"),
    "script of a bookmark": outline(SCRIPT),
    "calculation": pdfs.document(page=f"/Annots [<< {WIDGET} /AA << /C {SCRIPT} /K {SCRIPT} >> >>]"),
    "3D": pdfs.document(page="/Annots [<< /Subtype /3D >>]"),
    "film": pdfs.document(page="/Annots [<< /Subtype /Screen /A << /S /Rendition >> >>]"),
}


@pytest.mark.parametrize("name", INTERACTIVE)
def test_interactive_content_is_not_active(name: str) -> None:
    """What waits for somebody to click or type is told from what runs by itself."""
    assert set(found(INTERACTIVE[name])) == {R.INTERACTIVE_CONTENT}


@pytest.mark.parametrize("number", [10, 11, 12])
def test_only_what_can_be_reached_counts(number: int) -> None:
    """An object that nothing refers to is no part of the document."""
    assert not found(pdfs.document(objects={number: "<< /S /Launch /F (x) >>"}))


def test_a_replaced_action_does_not_count() -> None:
    """What an update took out of the document is not found any more."""
    original = pdfs.document(catalog="/OpenAction 10 0 R", objects={10: "<< /S /Launch >>"})
    assert R.ACTIVE_CONTENT in found(original)
    assert not found(pdfs.updated(original, {10: "<< /S /GoTo >>"}))


def test_a_broken_object_does_not_hide_the_others() -> None:
    """The walk goes on past an object that cannot be read."""
    document = pdfs.document(
        catalog="/OpenAction 11 0 R", page="/Annots [10 0 R 12 0 R]", objects={10: "<< /A (", 11: "<< /S /Launch >>"}
    )
    assert R.ACTIVE_CONTENT in found(document)


def test_cycles_end() -> None:
    """Objects that lead back to each other, actions that follow each other for ever, are followed once."""
    document = pdfs.document(
        catalog="/OpenAction 10 0 R /Names << /JavaScript 12 0 R /EmbeddedFiles 12 0 R >>",
        objects={
            10: "<< /S /GoTo /Next 11 0 R >>",
            11: "<< /S /GoTo /Next [10 0 R 11 0 R] >>",
            12: "<< /Kids [12 0 R 12 0 R] >>",
        },
    )
    assert not found(document)


def test_depth_does_not_matter() -> None:
    """A chain of objects far deeper than Python's stack is followed to its end."""
    depth = 5000
    chain = {number: f"<< /Next {number + 1} 0 R >>" for number in range(10, 10 + depth)}
    chain[10 + depth] = "<< /S /Launch >>"
    assert R.ACTIVE_CONTENT in found(pdfs.document(catalog="/Anything 10 0 R", objects=chain))


def image(entries: str) -> bytes:
    """Return a document whose page shows a form that shows an image with ``entries``."""
    return pdfs.document(
        page="/Resources << /XObject << /F 10 0 R >> >>",
        objects={
            10: pdfs.stream("/I Do", "/Subtype /Form /Resources << /XObject << /I 11 0 R >> >>"),
            11: pdfs.stream("x", f"/Subtype /Image /Width 1 /Height 1 {entries}"),
            12: pdfs.stream("x", "/Subtype /Image /Width 1 /Height 1"),
        },
    )


@pytest.mark.parametrize("entries", ["/SMask 12 0 R", "/Mask 12 0 R", "/Mask [0 1 0 1 0 1]"])
def test_masked_images_are_found(entries: str) -> None:
    """An image with a mask is found inside a form, and counted."""
    assert found(image(entries)) == {R.IMAGE_TRANSPARENCY: Finding(R.IMAGE_TRANSPARENCY, "image with a mask (1)")}


@pytest.mark.parametrize("entries", ["", "/SMask null", "/ImageMask true"])
def test_other_images_are_not_transparent(entries: str) -> None:
    """An image without a mask, and a stencil, are no transparent images."""
    assert not found(image(entries))


@pytest.mark.parametrize(
    ("state", "transparent"),
    [
        ("/ca 0.5", True),
        ("/CA 0", True),
        ("/SMask << /S /Alpha >>", True),
        ("/BM /Multiply", True),
        ("/BM [/Screen /Normal]", True),
        ("/ca 1 /CA 1.0 /SMask /None /BM /Normal", False),
        ("/BM [/Compatible]", False),
        ("/BM []", False),
        ("/LW 2", False),
    ],
)
def test_transparent_graphics_states(state: str, transparent: bool) -> None:
    """Alpha, soft masks and blend modes make a graphics state transparent; their neutral values do not."""
    document = pdfs.document(page=f"/Resources << /ExtGState << /G << {state} >> >> >>")
    assert (R.OTHER_TRANSPARENCY in found(document)) is transparent


def test_a_transparency_group_alone_is_not_transparent() -> None:
    """Word processors mark every page as a group, transparent or not."""
    assert not found(pdfs.document(page="/Group << /S /Transparency /CS /DeviceRGB >>"))


@pytest.mark.parametrize(
    "document",
    [
        pdfs.document(catalog="/Names << /EmbeddedFiles << /Names [(a) << /F (a) >>] >> >>"),
        pdfs.document(page="/Annots [<< /Subtype /FileAttachment >>]"),
        pdfs.document(catalog="/AF [<< /EF << /F 10 0 R >> >>]", objects={10: pdfs.stream("x")}),
    ],
    ids=["name tree", "annotation", "associated file"],
)
def test_attachments_are_found(document: bytes) -> None:
    """A file inside the document is found, however it is attached."""
    assert set(found(document)) == {R.ATTACHMENTS}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-be"])
def test_a_pdfa_claim_is_found(encoding: str) -> None:
    """The claim to be PDF/A is in the metadata, whatever its encoding."""
    metadata = pdfs.stream('<x xmlns:a="http://www.aiim.org/pdfa/ns/id/"/>'.encode(encoding))
    document = pdfs.document(catalog="/Metadata 10 0 R", objects={10: metadata})
    assert set(found(document)) == {R.PDFA_CLAIM}
    assert not found(pdfs.document(catalog="/Metadata 10 0 R", objects={10: pdfs.stream("<x/>")}))

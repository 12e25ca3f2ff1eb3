"""Whether a PDF may be sealed: the rules of validation.md, in their order, the first that holds decides.

Each rule that holds is a finding. What a folder makes of it (reject, warn, allow) is configuration, save for those
that are always rejected. Findings are made lazily, so nothing is looked at behind the one that rejects.

Run it in a `sealdrop.pdf.jail`: it bounds depth and counts, but time and memory are the jail's to bound. No detail
holds anything of the document's content, and therefore no text of an exception either.
"""

import errno
import io
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pypdf import PdfReader, apply_configuration
from pypdf.generic import NameObject

from sealdrop.config import SealPage, Validation
from sealdrop.model import Finding, Inspection, PageArea, Reason, Verdict
from sealdrop.pdf import large
from sealdrop.pdf.appearance import read_area
from sealdrop.pdf.content import TooMuchContent, survey
from sealdrop.pdf.document import Access, Opening, open_document
from sealdrop.pdf.forms import NO_CHANGES, Form, TooManyFields, read_form
from sealdrop.pdf.objects import entry
from sealdrop.pdf.pages import area_of
from sealdrop.pdf.structure import Layout, Xref, read_layout, read_xref
from sealdrop.pdf.trial import try_update
from sealdrop.visible.place import page_number

BYTES_PER_MIB = 1 << 20

_VERSION = re.compile(r"\d\.\d")

# The findings that come last, in the order of validation.md.
_LAST = (
    Reason.IMAGE_TRANSPARENCY,
    Reason.ALREADY_SIGNED,
    Reason.CERTIFIED,
    Reason.PDFA_CLAIM,
    Reason.ATTACHMENTS,
    Reason.INTERACTIVE_CONTENT,
    Reason.XREF_LENIENT,
    Reason.TRAILING_DATA,
    Reason.USAGE_RIGHTS,
    Reason.XFA_STATIC,
    Reason.PORTFOLIO,
    Reason.HYBRID_XREF,
    Reason.OTHER_TRANSPARENCY,
    Reason.LAYERS,
)


@dataclass(slots=True)
class _Facts:
    """What becomes known of a document while its findings are made."""

    pages: int = 0
    signatures: int = 0
    pdf_version: str = ""
    seal_page: PageArea | None = None


def inspect(path: Path, rules: Validation, seal_page: SealPage | None = None) -> Inspection:
    """Return the verdict on the PDF at ``path``; a damaged, hostile or odd file is a verdict, never an exception.

    ``seal_page`` is where a visible seal should stand: that page of an accepted document is measured.

    Raises:
        OSError: the file cannot be opened or read.
    """
    facts = _Facts()
    warnings: list[Finding] = []
    notes: list[Finding] = []
    # pypdf takes no stream for one that is longer than 75 MB: a picture, say, with a mask.
    with path.open("rb") as file, apply_configuration(maximum_declared_stream_length=sys.maxsize):
        for finding in _settled(file, rules, facts, seal_page):
            match rules.rule(finding.code):
                case "reject":
                    return _inspection(Verdict.REJECT, facts, cause=finding)
                case "warn":
                    warnings.append(finding)
                case "allow":
                    notes.append(finding)
    return _inspection(Verdict.ACCEPT, facts, warnings=tuple(warnings), notes=tuple(notes))


def _inspection(
    verdict: Verdict,
    facts: _Facts,
    *,
    cause: Finding | None = None,
    warnings: tuple[Finding, ...] = (),
    notes: tuple[Finding, ...] = (),
) -> Inspection:
    return Inspection(
        verdict, cause, warnings, notes, facts.pages, facts.signatures, facts.pdf_version, facts.seal_page
    )


def _settled(file: BinaryIO, rules: Validation, facts: _Facts, seal_page: SealPage | None) -> Iterator[Finding]:
    """Yield the findings; whatever exception ends them becomes the last one."""
    try:
        yield from _findings(file, rules, facts, seal_page)
    except MemoryError:
        yield Finding(Reason.PARSER_LIMIT, "inspection ran out of memory")
    except TooMuchContent:
        yield Finding(Reason.PARSER_LIMIT, "the document holds too many objects")
    except TooManyFields:
        yield Finding(Reason.PARSER_LIMIT, "the form holds too many fields")
    except Exception as error:  # pypdf raises anything on broken input
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise  # the disk's fault; a seek to before the start (EINVAL) is the document's
        yield Finding(Reason.UNREADABLE, f"the document cannot be parsed ({type(error).__name__})")


def _findings(file: BinaryIO, rules: Validation, facts: _Facts, seal_page: SealPage | None) -> Iterator[Finding]:
    """Yield what applies, in the order of validation.md."""
    size_bytes = os.fstat(file.fileno()).st_size
    if size_bytes == 0:
        yield Finding(Reason.EMPTY, "the file has no content")
    if size_bytes > rules.max_mib * BYTES_PER_MIB:
        size_mib = size_bytes / BYTES_PER_MIB
        yield Finding(Reason.TOO_LARGE, f"{size_mib:.1f} MiB, the limit is {rules.max_mib:g} MiB")
    source: BinaryIO
    if size_bytes <= large.WHOLE_BYTES:
        source = io.BytesIO(file.read())
    else:
        source = large.LargeFile(io.FileIO(file.fileno(), closefd=False), size_bytes)
    layout = read_layout(source, size_bytes)
    if layout.header_offset is None:
        yield Finding(Reason.NOT_PDF, "there is no PDF header")
    facts.pdf_version = layout.version
    opening = open_document(source)
    yield from _about_encryption(opening)
    if layout.header_offset:
        yield Finding(Reason.HEADER_OFFSET, f"{layout.header_offset} byte(s) stand before the PDF header")
    if layout.truncated:
        yield Finding(Reason.TRUNCATED, f"the end of the document is missing: {layout.truncated}")
    if opening.reader is None:
        raise opening.failure or EOFError
    yield from _about_document(source, layout, opening, opening.reader, rules, facts)
    if seal_page is not None:
        facts.seal_page = _measured(file, size_bytes, opening.reader, page_number(seal_page, facts.pages))


def _measured(file: BinaryIO, size_bytes: int, reader: PdfReader, page: int) -> PageArea | None:
    """Return what is seen of a page; None unless it will be measured in the same way when the seal is verified."""
    area = area_of(reader, page)
    return area if area == read_area(file, size_bytes, page) else None


def _about_encryption(opening: Opening) -> Iterator[Finding]:
    match opening.access:
        case Access.OPEN:
            pass
        case Access.PASSWORD:
            yield Finding(Reason.ENCRYPTED_USER, "the document opens with a password only")
        case Access.EMPTY_PASSWORD:
            yield Finding(Reason.ENCRYPTED_OWNER, "the document is encrypted, though it opens without a password")
        case Access.UNKNOWN:
            # That it is encrypted says more to its sender than that it cannot be read, which would come next.
            yield Finding(Reason.ENCRYPTED_OWNER, "the document is encrypted, with settings that cannot be used")
        case Access.OTHER_HANDLER:
            yield Finding(Reason.ENCRYPTED_UNSUPPORTED, "the document is encrypted for certain recipients only")


def _about_document(
    source: BinaryIO, layout: Layout, opening: Opening, reader: PdfReader, rules: Validation, facts: _Facts
) -> Iterator[Finding]:
    facts.pages = len(reader.pages)
    facts.pdf_version = _version(reader, layout)
    if facts.pages == 0:
        yield Finding(Reason.ZERO_PAGES, "the document has no pages")
    if facts.pages > rules.max_pages:
        yield Finding(Reason.TOO_MANY_PAGES, f"{facts.pages} pages, the limit is {rules.max_pages}")
    xref = read_xref(source, layout, reader)
    if xref.broken:
        yield Finding(Reason.XREF_BROKEN, f"the cross-reference table is broken: {xref.broken}")
    elif opening.rebuilt:
        yield Finding(Reason.XREF_BROKEN, "the cross-reference table is broken: it had to be rebuilt")
    form = read_form(reader.root_object)
    facts.signatures = form.signatures
    last = _from_form(form)
    if form.certified == NO_CHANGES or form.locked:
        yield Finding(Reason.CERTIFIED_NO_CHANGES, "an earlier signature forbids any change, a seal included")
    if form.xfa_dynamic:
        yield Finding(Reason.XFA_DYNAMIC, "the pages are made by a dynamic XFA form when the document is opened")
    last |= survey(reader)
    if Reason.ACTIVE_CONTENT in last:
        yield last[Reason.ACTIVE_CONTENT]
    yield from _about_update(source, opening)
    last |= _from_bytes(layout, xref)
    yield from (last[code] for code in _LAST if code in last)


def _about_update(source: BinaryIO, opening: Opening) -> Iterator[Finding]:
    try:
        try_update(source, encrypted=opening.access is Access.EMPTY_PASSWORD)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - pyHanko raises anything on odd input
        yield Finding(Reason.UNSEALABLE, f"a trial with an incremental update failed ({type(error).__name__})")


def _from_bytes(layout: Layout, xref: Xref) -> dict[Reason, Finding]:
    found = []
    if xref.lenient:
        found.append(Finding(Reason.XREF_LENIENT, f"the file has {xref.lenient}"))
    if xref.hybrid:
        found.append(Finding(Reason.HYBRID_XREF, "the file has both kinds of cross-reference"))
    if layout.trailing_bytes:
        found.append(Finding(Reason.TRAILING_DATA, f"{layout.trailing_bytes} byte(s) stand behind the document's end"))
    return {finding.code: finding for finding in found}


def _from_form(form: Form) -> dict[Reason, Finding]:
    found = []
    if form.signatures:
        found.append(Finding(Reason.ALREADY_SIGNED, f"{form.signatures} signature(s)"))
    if form.certified is not None:
        found.append(Finding(Reason.CERTIFIED, f"certified, with changes of level {form.certified} permitted"))
    if form.usage_rights:
        found.append(Finding(Reason.USAGE_RIGHTS, "usage rights are granted to a reader"))
    if form.xfa:
        found.append(Finding(Reason.XFA_STATIC, "a static XFA form"))
    return {finding.code: finding for finding in found}


def _version(reader: PdfReader, layout: Layout) -> str:
    """Return the version in the catalog where it is later than that in the header (ISO 32000-2, 7.7.2)."""
    version = entry(reader.root_object, "/Version")
    named = str(version)[1:] if isinstance(version, NameObject) else ""
    return max(layout.version, named) if _VERSION.fullmatch(named) else layout.version

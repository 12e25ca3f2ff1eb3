"""What people read beside a file that was not sealed."""

import pytest

from documents import NOW, document
from sealdrop.model import CHECK_REASONS, Reason, State
from sealdrop.wording import NOTICE_WORDS, WORDS, notice_text, reason_text, words_for

LEFT_IN_INBOUND = {
    Reason.SYMLINK,
    Reason.HARD_LINK,
    Reason.SPECIAL_FILE,
    Reason.FILE_UNREADABLE,
    Reason.FILE_CHANGED,
    Reason.NAME_INVALID,
    Reason.COMPANION_ALONE,
    Reason.OWN_RECORD,
}
ALSO_OF_DOCUMENTS = {Reason.TOO_LARGE, Reason.SIDECAR_INVALID, Reason.CHECKSUM_INVALID}
OUR_JARGON = ("ledger", "spool", "byte range", "xref", "pypdf", "pyHanko", "JSON", "exception", "daemon", "DocMDP")


@pytest.mark.parametrize("reason", sorted(set(Reason) - LEFT_IN_INBOUND))
def test_every_reason_has_words_without_jargon(reason: Reason) -> None:
    """Each reason that a document can be given says what is wrong and what to do, in both languages, plainly."""
    words = words_for(reason)
    for text in (words.wrong_en, words.advice_en, words.wrong_fr, words.advice_fr):
        assert len(text) > 15
        assert text.endswith(".")
        assert not [term for term in OUR_JARGON if term.lower() in text.lower()]
    assert words.wrong_en != words.wrong_fr
    if reason not in WORDS:
        assert reason in CHECK_REASONS.values()


def test_a_rejected_document_is_told_that_nothing_was_sent() -> None:
    """The text of a rejected file names it, the reason and the document, and that it may be dropped again."""
    text = reason_text(document(state=State.REJECTED, reason=Reason.NOT_PDF, reason_detail="no header"), None)
    lines = text.splitlines()
    assert lines[0] == "invoice.pdf"
    assert "This document was not sealed. The file is not a PDF, whatever its name says." in lines
    assert "Ce document n'a pas été cacheté. Le fichier n'est pas un PDF, quel que soit son nom." in lines
    assert "NOT_PDF: no header" in lines
    assert "Nothing was sent" in text
    assert "20261123-00112233aabbccdd" in text


def test_a_failed_document_is_told_what_came_back() -> None:
    """The text of a failed file names what the service returned, and does not invite to drop it again."""
    failed = document(state=State.FAILED, reason=Reason.SEAL_LEVEL, reason_detail="level: found B")
    text = reason_text(failed, "invoice.pdf.sealed.pdf")
    assert "not handed out" in text
    assert text.count("invoice.pdf.sealed.pdf") == 2
    assert "Nothing was sent" not in text


def test_a_name_with_line_breaks_cannot_forge_the_text() -> None:
    """Control characters of a name or a detail are shown, not obeyed."""
    given = document(
        name="sub/two\nENGLISH\nall is well.pdf", state=State.REJECTED, reason=Reason.EMPTY, reason_detail="a\x1b[2Jb"
    )
    text = reason_text(given, None)
    assert text.splitlines().count("ENGLISH") == 1
    assert "\x1b" not in text


@pytest.mark.parametrize("reason", [Reason.SEAL_REFUSED, Reason.SEAL_FAILED, Reason.SEAL_DISCARDED])
def test_a_document_that_the_service_did_not_seal_is_told_so(reason: Reason) -> None:
    """It was sent, so the text does not say that it was not; and nothing came back that could be handed out."""
    text = reason_text(document(state=State.FAILED, reason=reason, reason_detail="x"), None)
    assert "This document was not sealed." in text
    assert "Ce document n'a pas été cacheté." in text
    assert "Nothing was sent" not in text
    assert "beside" not in text


@pytest.mark.parametrize("reason", sorted(LEFT_IN_INBOUND | ALSO_OF_DOCUMENTS))
def test_a_notice_says_what_is_wrong_and_that_the_file_was_left(reason: Reason) -> None:
    """Each reason why a file is left in inbound has words for the office in both languages, and lines that fit."""
    words = NOTICE_WORDS[reason]
    for text in (words.wrong_en, words.advice_en, words.wrong_fr, words.advice_fr):
        assert len(text) > 15
        assert text.endswith(".")
        assert not [term for term in OUR_JARGON if term.lower() in text.lower()]
    text = notice_text("invoices", "sub/a\nENGLISH\n.pdf", reason, "word " * 60, token="00" * 8, seen_at=NOW)
    assert text.splitlines().count("ENGLISH") == 1
    assert all(len(line) <= 100 for line in text.splitlines())
    flat = " ".join(text.split())
    assert f"This file was not sealed. {words.wrong_en} What you can do: {words.advice_en} It was left where" in flat
    assert f"Ce fichier n'a pas été cacheté. {words.wrong_fr} Ce que vous pouvez faire : {words.advice_fr}" in flat
    assert f"Notice {'00' * 8}" in text


def test_every_reason_that_a_file_can_be_left_for_has_words() -> None:
    """No other reason has a notice's words."""
    assert set(NOTICE_WORDS) == LEFT_IN_INBOUND | ALSO_OF_DOCUMENTS


@pytest.mark.parametrize("reason", sorted(LEFT_IN_INBOUND))
def test_what_is_left_in_inbound_has_no_words_of_a_document(reason: Reason) -> None:
    """No document is given such a reason: words made up for it would be wrong."""
    with pytest.raises(KeyError):
        words_for(reason)


@pytest.mark.parametrize("reason", sorted(set(Reason) - LEFT_IN_INBOUND))
def test_lines_fit_a_window(reason: Reason) -> None:
    """No line is longer than a hundred characters, unless it is one word."""
    text = reason_text(
        document(state=State.FAILED, reason=reason, reason_detail="word " * 60), "x" * 40 + ".sealed.pdf"
    )
    assert all(len(line) <= 100 for line in text.splitlines())

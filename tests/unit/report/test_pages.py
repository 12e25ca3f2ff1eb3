"""The report's pages: everything is there, nothing from outside is obeyed, and a broken trail shouts."""

import subprocess
from datetime import timedelta
from html import unescape
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import pytest
from pypdf import PdfReader

from audit_months import write_trail
from sealdrop.events import EventName
from sealdrop.model import Event, Reason
from sealdrop.report.chart import lay_out
from sealdrop.report.figures import Bar
from sealdrop.report.html import to_html
from sealdrop.report.pdf import shown, to_pdf
from sealdrop.report.period import Grain
from sealdrop.report.stories import Outcome
from sealdrop.report.words import Language, Speech

from .conftest import FIRST, NOVEMBER, report_of
from .test_figures import NOON, told

HOSTILE = '<script>alert("x")</script>&<b>.pdf'


class Page(HTMLParser):
    """The tags and the text of a page."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(content.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep it."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Keep it."""
        self.text += data


def text_of_pdf(content: bytes, tmp_path: Path) -> str:
    """The PDF's text as another program reads it, its line breaks gone."""
    path = tmp_path / "report.pdf"
    path.write_bytes(content)
    read = subprocess.run(["pdftotext", path, "-"], check=True, capture_output=True, text=True)
    return " ".join(read.stdout.split())


def renamed(trail: Path, name: str, fate: str = "rejected") -> None:
    """Write the trail of one document of that name."""
    write_trail(
        trail, [(at, one, Event(event.name, {**event.fields, "name": name})) for at, one, event in told((NOON, fate))]
    )


@pytest.mark.parametrize("language", list(Language))
def test_both_pages_say_the_same(month: Path, tmp_path: Path, language: Language) -> None:
    """The figures, every document that was not delivered, certificates, verdict and head stand on both."""
    report = report_of(month, language)
    page, pdf = Page(to_html(report)), text_of_pdf(to_pdf(report), tmp_path)
    figures, speech = report.figures, report.speech
    expected = [report.verdict_words[0], str(figures.received), speech.texts.method_lines[0], "seal-1"]
    expected += [one.id for one in figures.not_delivered]
    expected += [speech.duration(each.median_s) for each in figures.durations]
    expected += [speech.number(use.seals) for use in figures.certificates]
    assert figures.not_delivered
    for text in expected:
        assert text in " ".join(page.text.split(" "))
        assert text.replace("\N{NO-BREAK SPACE}", " ") in pdf
    assert report.trail.last is not None
    for text in (report.trail.last.hash, *(use.certificate.serial for use in figures.certificates if use.certificate)):
        assert text in page.text
        assert text in pdf.replace(" ", "")  # such long words are broken


def test_the_page_needs_nothing_and_runs_nothing(month: Path) -> None:
    """No script, no link, no image, no address from elsewhere; and the page itself forbids them."""
    page = Page(to_html(report_of(month)))
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "link", "img", "iframe", "object", "embed", "a", "form", "base"}
    for tag, attributes in page.tags:
        assert not {name for name in attributes if name.startswith("on") or name in ("src", "href")}, tag
    (policy,) = [a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"


def test_a_hostile_name_is_text(trail: Path, tmp_path: Path) -> None:
    """A file's name that is markup is shown as it is, in both pages."""
    renamed(trail, HOSTILE)
    report = report_of(trail)
    content = to_html(report)
    assert HOSTILE.encode() not in content
    assert HOSTILE in Page(content).text
    assert HOSTILE in unescape(text_of_pdf(to_pdf(report), tmp_path))


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("請求書 7.pdf", "‹8ACB›‹6C42›‹66F8› 7.pdf"),
        ("فا.pdf", "‹0641›‹0627›.pdf"),
        ("a\u202egpj.pdf", "a‹202E›gpj.pdf"),
        ("tab\there.pdf", "tab‹0009›here.pdf"),
        ("Œuvre d'été.pdf", "Œuvre d'été.pdf"),
    ],
)
def test_what_the_font_has_not_is_never_another_letter(trail: Path, tmp_path: Path, name: str, written: str) -> None:
    """A character that cannot be written as it is meant is shown by its number, and the page explains that."""
    renamed(trail, name)
    report = report_of(trail)
    pdf = text_of_pdf(to_pdf(report), tmp_path)
    assert shown(name) == written
    assert written in pdf
    assert (report.speech.texts.unshown[:30] in pdf) == (written != name)


@pytest.mark.parametrize("letter", ["d", "W", "\u4e2d"])
@pytest.mark.parametrize("fate", ["rejected", "delivered", "in_work"])
def test_a_text_as_long_as_there_can_be_fits_on_a_page(trail: Path, tmp_path: Path, letter: str, fate: str) -> None:
    """A path of 4,096 bytes and a long detail are cut in the PDF, with an ellipsis, and whole in the page."""
    name = ("/".join([letter * (250 // len(letter.encode()))] * 16) + "/a.pdf")[-4_096:]
    long = {"name": name, "detail": "y" * 8_000, "archive_ids": ["w" * 256] * 9}
    happenings = told((NOON, fate))
    write_trail(
        trail,
        [
            (at, one, Event(event.name, {k: long.get(k, v) for k, v in event.fields.items()}))
            for at, one, event in happenings
        ],
    )
    report = report_of(trail)
    pdf = text_of_pdf(to_pdf(report), tmp_path)
    assert "…" in pdf
    assert shown(letter) * 3 in "".join(pdf.split())
    if fate != "delivered":
        assert name.encode() in to_html(report)


def test_a_broken_trail_shouts_at_the_top(month: Path, trail: Path, tmp_path: Path) -> None:
    """The first thing on both pages is that the trail is not whole, with what is wrong."""
    trail.mkdir()
    for path in sorted(month.iterdir())[1:]:
        (trail / path.name).write_bytes(path.read_bytes())
    report = report_of(trail)
    page, pdf = Page(to_html(report)).text, text_of_pdf(to_pdf(report), tmp_path)
    for text in (page, pdf):
        assert (
            0
            < text.index("THE AUDIT TRAIL IS NOT WHOLE")
            < text.index("missing before record")
            < text.index("At a glance")
        )
    assert "The audit trail is whole" not in page + pdf


def test_an_empty_month_and_no_trail_at_all(trail: Path, tmp_path: Path) -> None:
    """A report about nothing is made, and says so."""
    trail.mkdir()
    for _ in range(2):
        report = report_of(trail)
        assert report.speech.texts.empty in Page(to_html(report)).text
        assert report.speech.texts.empty in text_of_pdf(to_pdf(report), tmp_path)
        write_trail(trail, [(FIRST, None, Event(EventName.SERVICE_STARTED, {"version": "1"}))])


def test_long_lists_are_cut_and_say_so(trail: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of too many documents the first are listed, with how many there are, and pages are numbered."""
    monkeypatch.setattr("sealdrop.report.figures.LISTED_AT_MOST", 70)
    write_trail(trail, told(*((NOON + timedelta(seconds=n), "rejected") for n in range(80))))
    report = report_of(trail)
    content = to_pdf(report)
    pages = PdfReader(BytesIO(content)).pages
    cut = "The first 70 of 80 are listed; all are in the annex."
    assert cut in Page(to_html(report)).text
    assert cut in text_of_pdf(content, tmp_path)
    for number, page in enumerate(pages, start=1):
        assert f"Page {number} of {len(pages)}" in page.extract_text()
    assert len(pages) > 2


def test_the_same_report_gives_the_same_page(month: Path) -> None:
    """Nothing in the page depends on when it was written."""
    assert to_html(report_of(month)) == to_html(report_of(month))


def test_every_reason_has_words_in_both_languages() -> None:
    """Whatever a document can be given as its reason is said in words; what is not known is shown as it is."""
    for language in Language:
        speech = Speech(language, NOVEMBER.zone)
        assert speech.reason(Reason.EMPTY) != Reason.EMPTY
        assert speech.reason("OF_A_LATER_VERSION") == "OF_A_LATER_VERSION"
        assert speech.reason(None) == "-"


@pytest.mark.parametrize(
    ("duration_s", "english", "french"),
    [
        (0.04, "0.0 s", "0,0 s"),
        (59.94, "59.9 s", "59,9 s"),
        (3599, "59 min 59 s", "59 min 59 s"),
        (7_260, "2 h 01 min", "2 h 01 min"),
        (180_000, "2 d 2 h", "2 j 2 h"),
    ],
)
def test_durations_in_words(duration_s: float, english: str, french: str) -> None:
    """Durations have the units that fit, in each language."""
    said = [
        Speech(language, NOVEMBER.zone).duration(duration_s).replace("\N{NO-BREAK SPACE}", " ") for language in Language
    ]
    assert said == [english, french]


@pytest.mark.parametrize(
    ("part", "whole", "said"), [(0, 0, "–"), (0, 9, "0.0 %"), (1, 20_000, "0.1 %"), (19_999, 20_000, "99.9 %")]
)
def test_a_share_never_hides_what_there_is(part: int, whole: int, said: str) -> None:
    """One that failed of many is not 0 %, and all but one is not 100 %."""
    assert Speech(Language.EN, NOVEMBER.zone).share(part, whole).replace("\N{NO-BREAK SPACE}", " ") == said


@pytest.mark.parametrize("tallest", [0, 1, 7, 250, 99_999])
def test_a_chart_stays_in_its_frame(tallest: int) -> None:
    """Whatever the counts, all that is drawn lies within the width and height, and the lowest line is nought."""
    counts = {Outcome.DELIVERED: tallest, Outcome.FAILED: 1 if tallest > 1 else 0}
    bars = [Bar(day, counts) for day in NOVEMBER.bars()]
    chart = lay_out(bars, Grain.DAY, width=500, height=135)
    assert 2 <= len(chart.gridlines) <= 8
    assert chart.gridlines[0] == (chart.base, 0)
    for block in chart.blocks:
        assert chart.left <= block.x
        assert block.x + block.width <= chart.width
        assert block.y >= 0
        assert block.y + block.height <= chart.base + 0.01

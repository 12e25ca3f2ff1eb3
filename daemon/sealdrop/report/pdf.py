"""The report as a PDF, A4, with page numbers, its fonts embedded.

The fonts are DejaVu Sans where the system has it (Debian's fonts-dejavu-core), else Vera, which comes with the library
and has Western European letters only. What a font cannot write as it is meant (Chinese, Japanese, Korean; Arabic and
Hebrew, which run from the right; emoji; control characters) is shown by its Unicode number, in angles, never left out
and never replaced by something that looks alike: a name in evidence must not be taken for another. (Long, because
what each part of the page looks like is said once, here.)
"""

import unicodedata
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from reportlab.lib import fonts as font_families  # type: ignore[import-untyped]
from reportlab.lib.colors import HexColor  # type: ignore[import-untyped]
from reportlab.lib.enums import TA_RIGHT  # type: ignore[import-untyped]
from reportlab.lib.pagesizes import A4  # type: ignore[import-untyped]
from reportlab.lib.styles import ParagraphStyle  # type: ignore[import-untyped]
from reportlab.lib.units import mm  # type: ignore[import-untyped]
from reportlab.pdfbase.pdfmetrics import getFont, getRegisteredFontNames, registerFont  # type: ignore[import-untyped]
from reportlab.pdfbase.ttfonts import TTFError, TTFont  # type: ignore[import-untyped]
from reportlab.pdfgen.canvas import Canvas  # type: ignore[import-untyped]
from reportlab.platypus import (  # type: ignore[import-untyped]
    BaseDocTemplate,
    CondPageBreak,
    Flowable,
    Frame,
    KeepTogether,
    LongTable,
    PageTemplate,
    Paragraph,
    Spacer,
    Table,
    TableStyle,
)

from sealdrop.report.chart import COLOURS, STACKED, Chart, lay_out
from sealdrop.report.figures import Listed
from sealdrop.report.period import Grain
from sealdrop.report.report import Report
from sealdrop.report.stories import Outcome, Stage
from sealdrop.report.words import Speech

PLAIN, BOLD = "sealdrop", "sealdrop-bold"
_FONT_FILES = (
    (
        Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"),
        Path("/usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf"),
    ),
    (Path("Vera.ttf"), Path("VeraBd.ttf")),  # the library finds its own
)
_FROM_THE_RIGHT = frozenset({"R", "AL", "AN", "RLE", "RLO", "RLI"})

_INK, _SOFT, _LINE = HexColor("#1b2430"), HexColor("#5a6675"), HexColor("#d4dae1")
_ACCENT, _GOOD, _BAD, _PALE = HexColor("#1f4e79"), HexColor("#2b6a4b"), HexColor("#9b1c22"), HexColor("#fdf1f1")
_MARGIN, _HEAD, _FOOT = 16 * mm, 20 * mm, 18 * mm
_WIDTH = A4[0] - 2 * _MARGIN
# Of a text in a table: a row must fit on a page, and a path may have 4,096 bytes. The page and the annex have it whol
LONGEST_CELL = 400
MOST_IDS = 4  # of one document; they have 256 characters at most
_BUTT = 0  # a line that ends where it ends, not round


def to_pdf(report: Report) -> bytes:
    """Return the PDF."""
    _register_fonts()
    return _Page(report).pdf()


def _register_fonts() -> None:
    if PLAIN in getRegisteredFontNames():
        return
    for plain, bold in _FONT_FILES:
        try:
            loaded = (TTFont(PLAIN, str(plain)), TTFont(BOLD, str(bold)))
        except (TTFError, OSError):
            continue
        for font in loaded:
            registerFont(font)
        for italic in (0, 1):
            font_families.addMapping(PLAIN, 0, italic, PLAIN)
            font_families.addMapping(PLAIN, 1, italic, BOLD)
        return
    raise AssertionError("the library has lost its own fonts")


def shown(text: str) -> str:
    """Return ``text`` with every character that the font cannot write as it is meant replaced by its number."""
    glyphs = getFont(PLAIN).face.charToGlyph
    return "".join(each if _writes(each, glyphs) else f"‹{ord(each):04X}›" for each in text)


def _shortened(text: str, written: str) -> str:
    """Return ``written``, which shows ``text``, cut to `LONGEST_CELL` behind a whole character."""
    if len(written) <= LONGEST_CELL:
        return written
    kept = ""
    for character in text:
        piece = shown(character)
        if len(kept) + len(piece) >= LONGEST_CELL:
            break
        kept += piece
    return kept + "…"


def _writes(character: str, glyphs: dict[int, int]) -> bool:
    if character in "\N{NO-BREAK SPACE} ":
        return True
    return (
        ord(character) in glyphs
        and character.isprintable()
        and unicodedata.bidirectional(character) not in _FROM_THE_RIGHT
    )


def _style(name: str, **changes: Any) -> ParagraphStyle:  # noqa: ANN401 - as the library takes them
    return ParagraphStyle(name, **{"fontName": PLAIN, "fontSize": 8.5, "leading": 11.5, "textColor": _INK, **changes})


_BODY = _style("body", spaceAfter=3)
_NOTE = _style("note", fontSize=7.5, leading=10, textColor=_SOFT, spaceAfter=3)
_TITLE = _style("title", fontName=BOLD, fontSize=18, leading=22)
_PERIOD = _style("period", fontName=BOLD, fontSize=12, leading=16, textColor=_ACCENT)
_SECTION = _style("section", fontName=BOLD, fontSize=11.5, leading=15, textColor=_ACCENT, spaceBefore=13, spaceAfter=4)
_CELL = _style("cell", fontSize=7.8, leading=10.2)
_FIGURE = _style("figure", fontSize=7.8, leading=10.2, alignment=TA_RIGHT)
_SUM = _style("sum", fontName=BOLD, fontSize=7.8, leading=10.2)
_SUM_FIGURE = _style("sum figure", fontName=BOLD, fontSize=7.8, leading=10.2, alignment=TA_RIGHT)
# Of a column of figures or not, in a row of sums or not.
_CELLS = {(False, False): _CELL, (True, False): _FIGURE, (False, True): _SUM, (True, True): _SUM_FIGURE}
_HEADING = _style("heading", fontName=BOLD, fontSize=7, leading=9, textColor=_SOFT)
_HEADING_RIGHT = _style(
    "heading right", parent=_HEADING, fontName=BOLD, fontSize=7, leading=9, textColor=_SOFT, alignment=TA_RIGHT
)
_VERDICT = _style("verdict", fontName=BOLD, fontSize=11, leading=15, textColor=_GOOD)
_ALARM = _style("alarm", fontName=BOLD, fontSize=15, leading=20, textColor=_BAD)
_TILE = _style("tile", fontName=BOLD, fontSize=16, leading=20)

Row = Sequence[str]


class _Page:
    """One report, on its way to being pages."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._speech: Speech = report.speech
        self._texts = report.speech.texts
        self._unshown = False

    def pdf(self) -> bytes:
        """Return the file."""
        report = self._report
        target = BytesIO()
        title = f"{self._texts.title}, {report.period_words}, {report.folder_words}"
        document = BaseDocTemplate(
            target,
            pagesize=A4,
            title=title,
            author=f"sealdrop {report.version}",
            creator=f"sealdrop {report.version}",
            lang=report.language.value,
        )
        frame = Frame(_MARGIN, _FOOT, _WIDTH, A4[1] - _HEAD - _FOOT, 0, 0, 0, 0)
        document.addPageTemplates([PageTemplate(frames=[frame])])
        running = self._text(f"{report.period_words} · {report.folder_words}")

        def canvas(*args: Any, **options: Any) -> "_Numbered":  # noqa: ANN401 - as the library calls it
            return _Numbered(*args, running=(self._texts.title, running), page_text=self._texts.page, **options)

        document.build([*self._top(), *self._body(), *self._end()], canvasmaker=canvas)
        return target.getvalue()

    # The parts, in their order.

    def _top(self) -> list[Flowable]:
        report = self._report
        return [
            self._paragraph(self._texts.title, _TITLE),
            self._paragraph(f"{report.period_words} · {report.folder_words}", _PERIOD),
            self._paragraph(report.made_words, _NOTE),
            Spacer(1, 5),
            self._verdict(),
            self._section(self._texts.glance),
            self._tiles(),
        ]

    def _body(self) -> list[Flowable]:
        figures, texts, speech = self._report.figures, self._texts, self._speech
        if not figures.received:
            return [self._paragraph(texts.empty, _BODY)]
        size = texts.pages_and_size.format(pages=speech.number(figures.pages), size=speech.size(figures.size_bytes))
        grain = figures.period.grain
        chart = lay_out(figures.bars, grain, width=_WIDTH, height=135)
        present = [outcome for outcome in STACKED if figures.outcomes[outcome]]
        return [
            Spacer(1, 3),
            self._paragraph(size, _NOTE),
            KeepTogether(
                [
                    self._section(texts.by_day if grain is Grain.DAY else texts.by_month),
                    _Drawing(chart, speech),
                    _Legend([(outcome, speech.outcome(outcome)) for outcome in present]),
                ]
            ),
            *self._by_folder(),
            *self._durations(),
            *self._not_delivered(),
            *self._in_work(),
            *self._seals(),
            *self._archives(),
        ]

    def _end(self) -> list[Flowable]:
        report, texts, speech = self._report, self._texts, self._speech
        figures, trail = report.figures, report.trail
        rows = [(text, speech.number(count)) for text, count in report.repeat_rows]
        parts = [
            self._section(texts.repeats),
            self._table(None, rows, (0.88, 0.12), right=(1,)),
            self._section(texts.service),
            self._paragraph(report.service_words if figures.starts or figures.stops else texts.no_starts, _BODY),
        ]
        if figures.starts:
            starts = [
                (
                    speech.moment(start.at),
                    start.node,
                    start.version or "–",
                    texts.clean if start.clean else f"<b>{escape(texts.unclean)}</b>",
                )
                for start in figures.starts
            ]
            heading = (texts.start, texts.host, texts.version, texts.before)
            parts.append(self._table(heading, starts, (0.22, 0.38, 0.15, 0.25), ready=(3,)))
        records, period = speech.number(trail.records), speech.number(figures.records)
        if trail.first and trail.last:
            records += f" · {speech.moment(trail.first.at)} – {speech.moment(trail.last.at)}"
        if figures.first_seq and figures.last_seq:
            period += f" · {speech.number(figures.first_seq)} – {speech.number(figures.last_seq)}"
        facts = [
            (texts.trail_files, speech.number(trail.files)),
            (texts.trail_records, records),
            (texts.trail_period, period),
            (texts.trail_head, report.head_words),
        ]
        parts += [
            CondPageBreak(45 * mm),
            self._section(texts.trail),
            self._table(None, facts, (0.3, 0.7)),
            self._paragraph(texts.trail_compared if report.compared else texts.trail_not_compared, _BODY),
        ]
        if trail.last:
            parts.append(
                self._paragraph(f"{texts.trail_note} sealdrop audit verify --dir … --expect {report.head_words}", _BODY)
            )
        parts.append(self._section(texts.method))
        parts += [self._paragraph(f"– {line}", _BODY) for line in report.method_lines]
        parts.append(self._paragraph(f"{texts.annex} · {report.annex_words}", _BODY))
        if self._unshown:
            parts.append(self._paragraph(texts.unshown, _NOTE))
        return parts

    def _verdict(self) -> Flowable:
        report = self._report
        verdict, meaning = report.verdict_words
        whole = report.trail.ok
        lines = [self._paragraph(verdict, _VERDICT if whole else _ALARM), self._paragraph(meaning, _BODY)]
        lines += [self._paragraph(f"– {problem}", _BODY) for problem in report.problems]
        lines.append(self._paragraph(f"{self._texts.head} {report.head_words}", _NOTE))
        colour = _GOOD if whole else _BAD
        box = [
            ("BOX", (0, 0), (-1, -1), 0.6 if whole else 2.5, colour),
            ("LINEBEFORE", (0, 0), (0, -1), 6 if whole else 10, colour, _BUTT),
            ("BACKGROUND", (0, 0), (-1, -1), HexColor("#ffffff") if whole else _PALE),
            ("LEFTPADDING", (0, 0), (-1, -1), 12),
            ("TOPPADDING", (0, 0), (0, 0), 6),
            ("TOPPADDING", (0, 1), (-1, -1), 0),
            ("BOTTOMPADDING", (0, 0), (-1, -2), 0),
            ("BOTTOMPADDING", (0, -1), (-1, -1), 5),
        ]
        return Table([[line] for line in lines], colWidths=[_WIDTH], style=TableStyle(box))

    def _tiles(self) -> Flowable:
        figures, speech = self._report.figures, self._speech
        tiles = [(speech.number(figures.received), self._texts.received, _LINE)]
        tiles += [
            (
                speech.number(count),
                f"{speech.outcome(outcome)} · {speech.share(count, figures.received)}",
                HexColor(COLOURS[outcome]),
            )
            for outcome, count in figures.outcomes.items()
        ]
        cells = [[self._paragraph(number, _TILE), self._paragraph(text, _NOTE)] for number, text, _ in tiles]
        lines: list[Any] = [
            ("LINEABOVE", (column, 0), (column, 0), 4, colour, _BUTT) for column, (_, _, colour) in enumerate(tiles)
        ]
        style: list[Any] = [("BOX", (column, 0), (column, 0), 0.5, _LINE) for column in range(len(tiles))]
        style += [("VALIGN", (0, 0), (-1, -1), "TOP"), ("BOTTOMPADDING", (0, 0), (-1, -1), 2)]
        return Table([cells], colWidths=[_WIDTH / len(tiles)] * len(tiles), style=TableStyle(style + lines))

    def _by_folder(self) -> list[Flowable]:
        figures, texts, speech = self._report.figures, self._texts, self._speech
        if len(figures.by_folder) < 2:
            return []
        rows = [
            (folder, speech.number(sum(counts.values())), *(speech.number(counts.get(each, 0)) for each in Outcome))
            for folder, counts in figures.by_folder.items()
        ]
        totals = (speech.number(figures.outcomes[each]) for each in Outcome)
        rows.append((texts.total, speech.number(figures.received), *totals))
        heading = (texts.folder, texts.received, *(speech.outcome(outcome) for outcome in Outcome))
        widths = (0.35, *[0.13] * 5)
        return [
            CondPageBreak(35 * mm),
            self._section(texts.by_folder),
            self._table(heading, rows, widths, right=range(1, 6), sum_row=True),
        ]

    def _durations(self) -> list[Flowable]:
        figures, texts, speech = self._report.figures, self._texts, self._speech
        if not figures.durations:
            return []
        rows = [
            (
                speech.stage(each.stage),
                speech.number(each.documents),
                speech.duration(each.median_s),
                speech.duration(each.p95_s),
                speech.duration(each.longest_s),
            )
            for each in figures.durations
        ]
        heading = (texts.stage, texts.documents, texts.median, texts.p95, texts.longest)
        whole = figures.durations[-1].stage is Stage.WHOLE
        table = self._table(heading, rows, (0.4, 0.15, 0.15, 0.15, 0.15), right=range(1, 5), sum_row=whole)
        return [KeepTogether([self._section(texts.durations), self._paragraph(texts.durations_text, _NOTE), table])]

    def _not_delivered(self) -> list[Flowable]:
        figures, texts, speech = self._report.figures, self._texts, self._speech
        parts = [CondPageBreak(40 * mm), self._section(texts.not_delivered)]
        if not figures.reasons:
            return [*parts, self._paragraph(texts.none_not_delivered, _BODY)]
        reasons = [
            (speech.reason(reason), reason, speech.outcome(outcome), speech.number(count))
            for (outcome, reason), count in figures.reasons.items()
        ]
        parts.append(
            self._table(
                (texts.reason, "", texts.outcome, texts.documents), reasons, (0.5, 0.25, 0.12, 0.13), right=(3,)
            )
        )
        parts += self._cut(figures.not_delivered, figures.outcomes[Outcome.REJECTED] + figures.outcomes[Outcome.FAILED])
        parts.append(Spacer(1, 6))
        rows = [
            (
                speech.moment(one.received_at),
                f"{self._markup(one.name)}<br/>{self._soft(f'{one.folder} · {one.id}')}",
                f"<b>{escape(speech.outcome_of_one(one.outcome))}</b> · {self._markup(speech.reason(one.reason))}<br/>"
                + self._soft(f"{one.reason or '-'} {one.detail or ''}"),
            )
            for one in figures.not_delivered
        ]
        heading = (texts.taken_over, texts.name, texts.reason)
        parts.append(self._table(heading, rows, (0.19, 0.37, 0.44), ready=(1, 2)))
        return parts

    def _in_work(self) -> list[Flowable]:
        figures, texts, speech = self._report.figures, self._texts, self._speech
        if not figures.in_work:
            return []
        rows = [(speech.moment(one.received_at), one.name, one.folder, one.id) for one in figures.in_work]
        heading = (texts.taken_over, texts.name, texts.folder, texts.document)
        return [
            CondPageBreak(35 * mm),
            self._section(texts.in_work),
            self._paragraph(texts.in_work_text, _NOTE),
            *self._cut(figures.in_work, figures.outcomes[Outcome.IN_WORK]),
            self._table(heading, rows, (0.19, 0.37, 0.17, 0.27)),
        ]

    def _seals(self) -> list[Flowable]:
        figures, texts, speech = self._report.figures, self._texts, self._speech
        parts = [CondPageBreak(35 * mm), self._section(texts.seals)]
        if not figures.certificates:
            return [*parts, self._paragraph(texts.no_seals, _BODY)]
        rows = []
        for use in figures.certificates:
            named = use.certificate
            if named is None:
                subject, serial, valid = escape(texts.not_on_record), "", ""
            else:
                issuer = self._soft(f"{texts.issuer} {named.issuer or '–'}")
                subject = f"{self._markup(named.subject or '–')}<br/>{issuer}"
                serial = self._markup(named.serial)
                valid = f"{speech.day(named.not_before)}<br/>{speech.day(named.not_after)}"
            used = f"{speech.day(use.first_at)}<br/>{speech.day(use.last_at)}"
            rows.append((subject, serial, valid, used, speech.number(use.seals)))
        heading = (texts.subject, texts.serial, texts.valid, texts.first_last, texts.count)
        table = self._table(heading, rows, (0.42, 0.22, 0.13, 0.13, 0.1), right=(4,), ready=(0, 1, 2, 3))
        if not figures.levels:
            return [*parts, table]
        levels = self._paragraph(texts.levels.format(levels=self._report.level_words), _NOTE)
        return [*parts, KeepTogether([table, levels])]

    def _archives(self) -> list[Flowable]:
        figures, texts, speech = self._report.figures, self._texts, self._speech
        parts = [CondPageBreak(40 * mm), self._section(texts.archives)]
        if not figures.archive_ids:
            return [*parts, self._paragraph(texts.archives_none, _BODY)]
        counted = texts.archives_count.format(
            identifiers=speech.number(figures.archive_ids), documents=speech.number(figures.archived_documents)
        )
        if not self._report.lists_archive_ids:
            return [*parts, self._paragraph(f"{counted} {texts.archives_annex}", _BODY)]
        rows = [
            (self._identifiers(one.archive_ids), self._markup(one.name), self._markup(one.id))
            for one in figures.archived
        ]
        heading = (texts.archive_id, texts.name, texts.document)
        table = self._table(heading, rows, (0.38, 0.36, 0.26), ready=(0, 1, 2))
        return [*parts, self._paragraph(counted, _BODY), table]

    def _identifiers(self, archive_ids: Sequence[str]) -> str:
        more = ["…"] if len(archive_ids) > MOST_IDS else []
        return "<br/>".join([*map(self._markup, archive_ids[:MOST_IDS]), *more])

    # What they are made of.

    def _cut(self, listed: Sequence[Listed], count: int) -> list[Flowable]:
        if len(listed) == count:
            return []
        text = self._texts.listed_part.format(listed=self._speech.number(len(listed)), count=self._speech.number(count))
        return [self._paragraph(text, _BODY)]

    def _table(
        self,
        heading: Row | None,
        rows: Sequence[Row],
        shares: Sequence[float],
        *,
        right: Sequence[int] = (),
        ready: Sequence[int] = (),
        sum_row: bool = False,
    ) -> Flowable:
        """Return a table over the whole width; columns of ``ready`` are markup already, those of ``right`` figures."""
        cells = [
            [
                Paragraph(
                    text if column in ready else self._markup(text),
                    _CELLS[column in right, sum_row and number == len(rows)],
                )
                for column, text in enumerate(row)
            ]
            for number, row in enumerate(rows, start=1)
        ]
        style = [
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ("LEFTPADDING", (0, 0), (-1, -1), 0),
            ("RIGHTPADDING", (0, 0), (-2, -1), 7),
            ("RIGHTPADDING", (-1, 0), (-1, -1), 0),
            ("TOPPADDING", (0, 0), (-1, -1), 2.2),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 2.8),
            ("LINEBELOW", (0, 0), (-1, -1), 0.4, _LINE),
        ]
        if heading is not None:
            styles = [_HEADING_RIGHT if column in right else _HEADING for column in range(len(heading))]
            cells.insert(0, [self._paragraph(text, kind) for text, kind in zip(heading, styles, strict=True)])
            style += [("LINEBELOW", (0, 0), (-1, 0), 1.2, _ACCENT), ("VALIGN", (0, 0), (-1, 0), "BOTTOM")]
        if sum_row:
            style.append(("LINEABOVE", (0, -1), (-1, -1), 1.2, _ACCENT))
        widths = [share * _WIDTH for share in shares]
        return LongTable(cells, colWidths=widths, repeatRows=int(heading is not None), style=TableStyle(style))

    def _section(self, text: str) -> Flowable:
        return self._paragraph(text, _SECTION)

    def _paragraph(self, text: str, style: ParagraphStyle) -> Paragraph:
        return Paragraph(escape(self._text(text)), style)

    def _soft(self, text: str) -> str:
        return f'<font size="7" color="#5a6675">{self._markup(text)}</font>'

    def _markup(self, text: str) -> str:
        """Return a text as it stands in a table: escaped, and cut where it would be too long for a row."""
        return escape(_shortened(text, self._text(text)))

    def _text(self, text: str) -> str:
        written = shown(text)
        self._unshown = self._unshown or written != text
        return written


class _Drawing(Flowable):  # type: ignore[misc] # the library has no types
    """The chart by day or month."""

    def __init__(self, chart: Chart, speech: Speech) -> None:
        super().__init__()
        self._chart = chart
        self._speech = speech
        self.width, self.height = chart.width, chart.height

    def draw(self) -> None:
        """Draw it; the geometry counts from the top, a PDF from the bottom."""
        chart, canvas = self._chart, self.canv
        canvas.setFont(PLAIN, 6.8)
        canvas.setLineWidth(0.5)
        for y, count in chart.gridlines:
            canvas.setStrokeColor(_SOFT if y == chart.base else _LINE)
            canvas.line(chart.left, chart.height - y, chart.width, chart.height - y)
            canvas.setFillColor(_SOFT)
            canvas.drawRightString(chart.left - 5, chart.height - y - 2.4, self._speech.number(count))
        for block in chart.blocks:
            canvas.setFillColor(HexColor(COLOURS[block.outcome]))
            canvas.rect(block.x, chart.height - block.y - block.height, block.width, block.height, stroke=0, fill=1)
        canvas.setFillColor(_SOFT)
        for label in chart.labels:
            canvas.drawCentredString(label.x, chart.height - label.y + 4, label.text)


class _Legend(Flowable):  # type: ignore[misc] # the library has no types
    """What the chart's colours mean."""

    def __init__(self, entries: Sequence[tuple[Outcome, str]]) -> None:
        super().__init__()
        self._entries = entries
        self.width, self.height = _WIDTH, 12

    def draw(self) -> None:
        """Draw it."""
        canvas, x = self.canv, 46.0
        canvas.setFont(PLAIN, 7.5)
        for outcome, text in self._entries:
            canvas.setFillColor(HexColor(COLOURS[outcome]))
            canvas.setStrokeColor(_SOFT)
            canvas.setLineWidth(0.3)
            canvas.rect(x, 2, 7, 7, stroke=1, fill=1)
            canvas.setFillColor(_SOFT)
            canvas.drawString(x + 11, 2.6, text)
            x += canvas.stringWidth(text, PLAIN, 7.5) + 30


class _Numbered(Canvas):  # type: ignore[misc] # the library has no types
    """Pages that say how many there are: the running head and foot are drawn once all are known."""

    def __init__(self, *args: Any, running: tuple[str, str], page_text: str, **options: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **options)
        self._running = running
        self._page_text = page_text
        self._pages: list[dict[str, Any]] = []

    def showPage(self) -> None:  # noqa: N802 - the library's name
        """Keep the page for later."""
        self._pages.append(dict(self.__dict__))
        self._startPage()

    def save(self) -> None:
        """Write all pages."""
        pages = self._pages
        for number, page in enumerate(pages, start=1):
            self.__dict__.update(page)
            self._draw_running(number, len(pages))
            super().showPage()
        super().save()

    def _draw_running(self, number: int, pages: int) -> None:
        self.setFillColor(_SOFT)
        self.setStrokeColor(_LINE)
        self.setLineWidth(0.5)
        self.setFont(PLAIN, 7)
        width, height = A4
        title, about = self._running
        if number > 1:
            self.drawString(_MARGIN, height - 12 * mm, title)
            self.drawRightString(width - _MARGIN, height - 12 * mm, _cut(self, about, _WIDTH * 0.6))
            self.line(_MARGIN, height - 14 * mm, width - _MARGIN, height - 14 * mm)
        self.line(_MARGIN, 13 * mm, width - _MARGIN, 13 * mm)
        self.drawString(_MARGIN, 9 * mm, "sealdrop")
        self.drawRightString(width - _MARGIN, 9 * mm, self._page_text.format(page=number, pages=pages))


def _cut(canvas: Canvas, text: str, width: float) -> str:
    while canvas.stringWidth(text, PLAIN, 7) > width:
        text = text[:-2].rstrip() + "…"
    return text

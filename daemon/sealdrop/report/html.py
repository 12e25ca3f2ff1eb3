"""The report as one HTML page that needs nothing else: no script, no font, no image from elsewhere."""

from jinja2 import Environment, PackageLoader, StrictUndefined

from sealdrop.report.chart import COLOURS, STACKED, lay_out
from sealdrop.report.period import Grain
from sealdrop.report.report import Report

_CHART_WIDTH, _CHART_HEIGHT = 960.0, 230.0

# Every value is escaped: names of files, reasons and hosts are other people's text.
_TEMPLATES = Environment(
    loader=PackageLoader("sealdrop.report", ""),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def to_html(report: Report) -> bytes:
    """Return the page, in UTF-8. The same report gives the same bytes."""
    figures = report.figures
    grain = figures.period.grain
    texts = report.speech.texts
    page = _TEMPLATES.get_template("page.html").render(
        report=report,
        figures=figures,
        speech=report.speech,
        texts=texts,
        chart=lay_out(figures.bars, grain, width=_CHART_WIDTH, height=_CHART_HEIGHT),
        chart_title=texts.by_day if grain is Grain.DAY else texts.by_month,
        colours=COLOURS,
        stacked=STACKED,
        whole=figures.received,
    )
    return page.encode()

"""What sealed PDFs are called: by a template that is checked, always the same, and never out of their folder."""

from datetime import UTC, datetime
from pathlib import PurePosixPath
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from documents import DIGEST, verified
from properties import tried
from sealdrop.model import Document, Verification, Wishes
from sealdrop.naming import FOLDER_MAX_BYTES, Template, read_template
from sealdrop.pipeline.deliver import NAME_MAX_BYTES, names_for
from sealdrop.receipt import RECEIPT_SUFFIX

PARIS = ZoneInfo("Europe/Paris")


def _document(reference: str | None = None, **changes: object) -> Document:
    wishes = None if reference is None else Wishes(DIGEST, reference=reference)
    return verified(wishes=wishes, **changes)


@pytest.mark.parametrize(
    ("template", "document", "name"),
    [
        ("{stem}", _document(name="sub/a.b.PDF"), "sub/a.b.PDF"),
        ("{stem}", _document(name="no ending"), "no ending"),
        ("{stem}-sealed", _document(name="sub/a.pdf"), "sub/a-sealed.pdf"),
        ("{date}_{stem}", _document(), "2026-11-23_invoice.pdf"),
        ("{date:%Y}/{date:%m}/{stem}", _document(name="sub/a.pdf"), "sub/2026/11/a.pdf"),
        ("{received:%Y%m%d} {stem}", _document(received_at=datetime(2026, 1, 2, tzinfo=UTC)), "20260102 invoice.pdf"),
        ("{folder} {short_id}", _document(), "invoices 00112233.pdf"),
        ("{id}", _document(), "20261123-00112233aabbccdd.pdf"),
        ("{reference}", _document("F-2026/17: Müller"), "F-2026-17- Müller.pdf"),
        ("{reference}", _document("../../etc/passwd"), "-..-etc-passwd.pdf"),
        ("{reference}", _document(" . \n"), "invoice.pdf"),
        ("{reference}", _document(), "invoice.pdf"),
        ("{reference}/{stem}", _document("..."), "invoice/invoice.pdf"),
        ("{{{stem}}}", _document(), "{invoice}.pdf"),
    ],
)
def test_fields_are_what_they_say(template: str, document: Document, name: str) -> None:
    """Each field, in names and in folders before them; a reference holds nothing that a file system would obey."""
    assert read_template(template).name(document, UTC) == name


def test_a_date_is_that_of_the_seal_where_people_are() -> None:
    """A seal of the late evening bears the next day's date further east; without a time it is that of the check."""
    late = datetime(2026, 11, 23, 23, 30, tzinfo=UTC)
    sealed = verified(verification=Verification((), signed_at=late))
    assert Template("{date}").name(sealed, UTC) == "2026-11-23.pdf"
    assert Template("{date}").name(sealed, PARIS) == "2026-11-24.pdf"
    assert Template("{date}").name(verified(verification=Verification(()), updated_at=late), PARIS) == "2026-11-24.pdf"


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("", "is empty"),
        ("/{stem}", "is empty"),
        ("a//{stem}", "is empty"),
        ("{stem}/", "is empty"),
        ("../{stem}", "must not begin with a dot"),
        (".{stem}", "must not begin with a dot"),
        (" {stem}", "begin or end with a space"),
        ("{stem}.pdf", "must not end with .pdf"),
        ("{name}", "{name} is no field"),
        ("{}", "{} is no field"),
        ("{stem.__class__}", "{stem.__class__} is no field"),
        ("{stem!r}", "!r is not for names"),
        ("{stem:>500}", "{stem} takes no format"),
        ("{stem", "cannot be read"),
        ("{date:%Y/%m}", "cannot be read"),
        ("{date:%c}", "is no format of a date"),
        ("{date:%H:%M}", "is no format of a date"),
        ("{date:{id}}", "is no format of a date"),
        ("a\\{stem}", "control characters nor"),
        ("a\n{stem}", "control characters nor"),
        ("a:{stem}", "must hold none of"),
        ("x" * 121, "too little room"),
        ("a/" * 9 + "{stem}", "more than 8 folders"),
        (5, "must be a text"),
    ],
)
def test_a_template_that_could_not_be_used_is_refused(template: object, told: str) -> None:
    """Each fault is told when the configuration is read, before any document has to be named."""
    with pytest.raises(ValueError, match=r".") as caught:
        read_template(template)
    assert told in str(caught.value)


fields = ["{stem}", "{id}", "{short_id}", "{folder}", "{reference}", "{date}", "{date:%Y}", "{received:%H.%M}"]
parts = st.lists(st.sampled_from([*fields, "-", "_", "x y", "é"]), min_size=1, max_size=4).map("".join)
stems = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=80)


@tried(300)
@given(
    st.lists(parts, min_size=1, max_size=4).map("/".join), stems, st.text(max_size=60), st.sampled_from(["", "sub/"])
)
@example("{stem}", ".hidden", "", "sub/")
@example("{stem}/{stem}", "...", "", "")
def test_any_name_is_one_below_its_folder_and_stays_the_same(
    template: str, stem: str, reference: str, below: str
) -> None:
    """Whatever template, name and reference: no name is hidden, too long or outside, and asked again it is the same."""
    if stem in (".", ".."):
        return
    document = _document(reference, name=f"{below}{stem}")
    wanted = Template(template).name(document, PARIS)
    assert wanted == Template(template).name(document, PARIS)
    for name in names_for(document, RECEIPT_SUFFIX, wanted):
        path = PurePosixPath(name)
        assert not path.is_absolute()
        assert all(part not in ("..", "") for part in name.split("/"))
        assert all(len(part.encode()) <= FOLDER_MAX_BYTES + 55 for part in path.parts)
        assert len((path.name + RECEIPT_SUFFIX).encode()) <= NAME_MAX_BYTES
        assert not any(part.startswith(".") for part in path.parts)
        assert "\0" not in name
    assert wanted.startswith(below)

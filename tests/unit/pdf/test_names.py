"""What is remembered of names is what asn1crypto says of them."""

import operator
from collections.abc import Callable

from asn1crypto import x509
from hypothesis import given
from hypothesis import strategies as st

from sealdrop.pdf import names

LETTERS = st.text("aAé\u0301 ß\u00ad,+\ue000", max_size=4)
PARTS = st.dictionaries(st.sampled_from(["common_name", "organization_name", "locality_name"]), LETTERS, min_size=1)


def _name(parts: dict[str, str], *, printable: bool) -> x509.Name:
    return x509.Name.load(x509.Name.build(parts, use_printable=printable and "".join(parts.values()).isascii()).dump())


def _answer(question: Callable[..., object], *of: x509.Name) -> object:
    """Return the answer, or the kind of the refusal: some characters cannot be compared."""
    try:
        return question(*of)
    except ValueError:
        return ValueError


@given(PARTS, PARTS, st.booleans())
def test_names_are_the_same_as_ever(one: dict[str, str], other: dict[str, str], printable: bool) -> None:
    """Two names are equal, and have equal keys, if and only if asn1crypto says so, the first time and the second."""
    name = _name(one, printable=False)
    for another in (_name(other, printable=printable), _name(one, printable=printable)):
        for _ in range(2):
            same = _answer(names._same_name, name, another)
            assert _answer(operator.eq, name, another) == same
            assert _answer(operator.ne, name, another) == (same if same is ValueError else not same)
            assert _answer(operator.attrgetter("hashable"), another) == _answer(names._hashable, another)


def test_a_name_is_known_wherever_it_stands() -> None:
    """A name in another one's place, with a tag of its own there, is the same name."""
    name = x509.Name.build({"common_name": "Seal"})
    place = x509.GeneralName.load(x509.GeneralName("directory_name", name).dump())
    assert place.chosen == x509.Name.build({"common_name": "sEAL"})
    assert place.chosen != x509.Name.build({"common_name": "Other"})
    assert name != "Seal"


def test_nobody_fills_the_memory_with_long_names() -> None:
    """A name of many kilobytes is compared, and not kept."""
    before = names._remembered_same.cache_info().currsize, names._remembered_hashable.cache_info().currsize
    long = x509.Name.build({"common_name": "long" * 2000})
    assert long == x509.Name.build({"common_name": "LONG" * 2000})
    assert "long" in long.hashable
    assert before == (names._remembered_same.cache_info().currsize, names._remembered_hashable.cache_info().currsize)

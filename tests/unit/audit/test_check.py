"""What the verification of the audit trail finds, and that it finds nothing in a trail that is whole."""

import json
import os
import tempfile
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from sealdrop.audit import ProblemKind, Trail, chain, check, reading, verify_trail
from sealdrop.audit.chain import link
from sealdrop.errors import Fatal
from sealdrop.model import GENESIS, AuditRecord, Event

from .conftest import START, chain_of, head_of

Records = tuple[AuditRecord, ...]

DAY_1, DAY_2, DAY_4 = "2026-03-01.jsonl", "2026-03-02.jsonl", "2026-03-04.jsonl"


def expectation(records: Records) -> list[tuple[int, str]]:
    """What somebody noted who saw the whole trail."""
    return [(records[-1].seq, records[-1].hash)]


def lines_of(path: Path) -> list[bytes]:
    """The file's lines, with their newlines."""
    return [line + b"\n" for line in path.read_bytes().split(b"\n")[:-1]]


def rewrite(path: Path, change: Callable[[list[bytes]], object]) -> None:
    """Change the list of the file's lines in place."""
    lines = lines_of(path)
    change(lines)
    path.write_bytes(b"".join(lines))


def forge(line: bytes, **changes: object) -> bytes:
    """The record with other members, and a hash that fits them."""
    content = {**json.loads(line), **changes}
    del content["hash"]
    content["hash"] = chain._digest(content)
    return chain.rfc8785.dumps(content) + b"\n"


def test_whole_trail_has_no_problems(written: Path, records: Records) -> None:
    """A trail as it was written passes, and the report says what it covers."""
    report = verify_trail(written, expect=[(0, GENESIS.hash), (4, records[3].hash), *expectation(records)])
    assert (report.ok, report.problems, report.problem_count) == (True, (), 0)
    assert (report.files, report.records) == (3, 9)
    assert (report.first, report.last) == (head_of(records[0]), head_of(records[-1]))


def test_empty_trail_has_no_problems(directory: Path) -> None:
    """A trail in which nothing was recorded yet passes."""
    Trail.open(directory)
    report = verify_trail(directory, expect=[(GENESIS.seq, GENESIS.hash)])
    assert (report.ok, report.records, report.first, report.last) == (True, 0, None, None)


def test_missing_directory_is_an_error(directory: Path) -> None:
    """Where there is no trail, verification does not pass."""
    with pytest.raises(Fatal, match="cannot be read"):
        verify_trail(directory)


def edit(directory: Path) -> None:
    """Change a value."""
    rewrite(directory / DAY_2, lambda lines: lines.__setitem__(1, lines[1].replace(b'"number":5', b'"number":8')))


def edit_hash(directory: Path) -> None:
    """Change a hash."""
    rewrite(
        directory / DAY_2,
        lambda lines: lines.__setitem__(1, lines[1].replace(b'"hash":"', b'"hash":"0', 1)[:-10] + lines[1][-9:]),
    )


def edit_last(directory: Path) -> None:
    """Change a value in the last record."""
    rewrite(directory / DAY_4, lambda lines: lines.__setitem__(-1, lines[-1].replace(b'"number":9', b'"number":8')))


def forge_value(directory: Path) -> None:
    """Change a value and the hash with it."""
    rewrite(directory / DAY_2, lambda lines: lines.__setitem__(1, forge(lines[1], node="host-2")))


def forge_rest(directory: Path) -> None:
    """Change a value, and every hash from there on."""
    before: str | None = None
    for name in (DAY_2, DAY_4):
        lines = lines_of(directory / name)
        for number, line in enumerate(lines):
            lines[number] = forge(line, node="host-2", **({"prev": before} if before else {}))
            before = json.loads(lines[number])["hash"]
        (directory / name).write_bytes(b"".join(lines))


def respell(directory: Path) -> None:
    """Write a record with spaces."""
    rewrite(directory / DAY_2, lambda lines: lines.__setitem__(1, json.dumps(json.loads(lines[1])).encode() + b"\n"))


def carriage_return(directory: Path) -> None:
    """End a line as other systems do."""
    rewrite(directory / DAY_2, lambda lines: lines.__setitem__(1, lines[1][:-1] + b"\r\n"))


def member_twice(directory: Path) -> None:
    """Give a member twice, of which a reader of JSON sees one."""
    rewrite(directory / DAY_2, lambda lines: lines.__setitem__(1, lines[1].replace(b'"v":1', b'"v":1,"v":1')))


def remove_line(directory: Path) -> None:
    """Remove a record."""
    rewrite(directory / DAY_2, lambda lines: lines.pop(1))


def remove_first(directory: Path) -> None:
    """Remove the very first record."""
    rewrite(directory / DAY_1, lambda lines: lines.pop(0))


def remove_day(directory: Path) -> None:
    """Remove a day's file."""
    (directory / DAY_2).unlink()


def remove_last_line(directory: Path) -> None:
    """Remove the newest record."""
    rewrite(directory / DAY_4, lambda lines: lines.pop())


def remove_last_day(directory: Path) -> None:
    """Remove the newest day's file."""
    (directory / DAY_4).unlink()


def remove_all(directory: Path) -> None:
    """Remove all files."""
    for path in list(directory.iterdir()):
        path.unlink()


def cut_line(directory: Path) -> None:
    """Cut the newest record in two."""
    os.truncate(directory / DAY_4, (directory / DAY_4).stat().st_size - 30)


def cut_newline(directory: Path) -> None:
    """Cut the last newline off."""
    os.truncate(directory / DAY_4, (directory / DAY_4).stat().st_size - 1)


def swap(directory: Path) -> None:
    """Swap two records."""
    rewrite(directory / DAY_2, lambda lines: lines.insert(1, lines.pop(0)))


def repeat(directory: Path) -> None:
    """Write a record twice."""
    rewrite(directory / DAY_2, lambda lines: lines.insert(1, lines[0]))


def move_to_other_day(directory: Path) -> None:
    """Put a day's last record into the next day's file."""
    moved: list[bytes] = []
    rewrite(directory / DAY_1, lambda lines: moved.append(lines.pop()))
    rewrite(directory / DAY_2, lambda lines: lines.insert(0, moved[0]))


def rename_day(directory: Path) -> None:
    """Give a day's file another day's name."""
    (directory / DAY_4).rename(directory / "2026-03-05.jsonl")


def foreign_files(directory: Path) -> None:
    """Leave other things beside the files."""
    (directory / "notes.txt").write_text("x")
    (directory / "2026-02-30.jsonl").write_text("no such day")
    (directory / "2026-03-03.jsonl").mkdir()
    (directory / "2026-03-06.jsonl").symlink_to(directory / DAY_4)


def empty_file(directory: Path) -> None:
    """Leave an empty day's file."""
    (directory / "2026-03-03.jsonl").touch()


def garbage_line(directory: Path) -> None:
    """Put something in between."""
    rewrite(directory / DAY_2, lambda lines: lines.insert(1, b"\xff{}\n"))


def other_json(directory: Path) -> None:
    """Put the JSON of something else in between."""
    rewrite(directory / DAY_2, lambda lines: lines.insert(1, b'{"v":1,"hello":true}\n'))


def blank_line(directory: Path) -> None:
    """Put an empty line in between."""
    rewrite(directory / DAY_2, lambda lines: lines.insert(1, b"\n"))


def endless_line(directory: Path) -> None:
    """Put a line in between that is longer than any record."""
    rewrite(directory / DAY_2, lambda lines: lines.insert(1, b"x" * 3_000_000 + b"\n"))


def newer_version(directory: Path) -> None:
    """Let a newer sealdrop have written a record."""
    rewrite(directory / DAY_4, lambda lines: lines.__setitem__(-1, forge(lines[-1], v=2)))


def boolean_number(directory: Path) -> None:
    """Write true for 1, which Python takes for equal."""
    rewrite(directory / DAY_1, lambda lines: lines.__setitem__(0, forge(lines[0], v=True)))


def other_time(directory: Path) -> None:
    """Write a time in another form."""
    rewrite(directory / DAY_4, lambda lines: lines.__setitem__(-1, forge(lines[-1], at="2026-03-04T23:30:00Z")))


def impossible_time(directory: Path) -> None:
    """Write a time that does not exist."""
    rewrite(directory / DAY_4, lambda lines: lines.__setitem__(-1, forge(lines[-1], at="2026-03-04T25:30:00.000000Z")))


def earlier_time(directory: Path) -> None:
    """Let the last record be earlier than the one before it."""
    rewrite(directory / DAY_2, lambda lines: lines.__setitem__(2, forge(lines[2], at="2026-03-02T00:00:00.000000Z")))
    (directory / DAY_4).unlink()


def bottomless(directory: Path) -> None:
    """Nest a record's data deeper than anybody can walk."""
    deep = b'{"data":' * 100_000 + b"1" + b"}" * 100_000 + b"\n"
    rewrite(directory / DAY_4, lambda lines: lines.__setitem__(-1, deep))


FAULTS = [
    (edit, {"edited"}, DAY_2, 2),
    (edit_hash, {"not_a_record"}, DAY_2, 2),
    (edit_last, {"edited"}, DAY_4, 3),
    (forge_value, {"broken_link"}, DAY_2, 3),
    (respell, {"not_canonical"}, DAY_2, 2),
    (carriage_return, {"not_canonical"}, DAY_2, 2),
    (member_twice, {"not_canonical"}, DAY_2, 2),
    (remove_line, {"missing"}, DAY_2, 2),
    (remove_first, {"missing"}, DAY_1, 1),
    (remove_day, {"missing"}, DAY_4, 1),
    (cut_line, {"incomplete_line"}, DAY_4, 3),
    (cut_newline, {"incomplete_line"}, DAY_4, 3),
    (swap, {"missing", "out_of_order"}, DAY_2, 1),
    (repeat, {"out_of_order"}, DAY_2, 2),
    (move_to_other_day, {"wrong_day"}, DAY_2, 1),
    (rename_day, {"wrong_day"}, "2026-03-05.jsonl", 1),
    (foreign_files, {"foreign_file"}, "2026-02-30.jsonl", None),
    (empty_file, {"empty_file"}, "2026-03-03.jsonl", None),
    (garbage_line, {"not_a_record"}, DAY_2, 2),
    (other_json, {"not_a_record"}, DAY_2, 2),
    (blank_line, {"not_a_record"}, DAY_2, 2),
    (endless_line, {"incomplete_line"}, DAY_2, 2),
    (newer_version, {"not_a_record"}, DAY_4, 3),
    (boolean_number, {"not_a_record"}, DAY_1, 1),
    (other_time, {"not_a_record"}, DAY_4, 3),
    (impossible_time, {"not_a_record"}, DAY_4, 3),
    (earlier_time, {"time_backwards"}, DAY_2, 3),
    (bottomless, {"not_a_record"}, DAY_4, 3),
]


@pytest.mark.parametrize(("damage", "kinds", "file", "line"), FAULTS, ids=[each[0].__name__ for each in FAULTS])
def test_fault_is_found_where_it_is_and_only_there(
    written: Path, damage: Callable[[Path], None], kinds: set[str], file: str, line: int | None
) -> None:
    """Without any expectation, each fault is reported by its name and place, and does not taint what follows."""
    damage(written)
    report = verify_trail(written)
    assert {problem.kind for problem in report.problems} == kinds
    assert (report.problems[0].file, report.problems[0].line) == (file, line)
    assert not report.ok


@pytest.mark.parametrize(
    ("damage", "kind"),
    [
        (remove_last_line, ProblemKind.CUT_OFF),
        (remove_last_day, ProblemKind.CUT_OFF),
        (remove_all, ProblemKind.CUT_OFF),
        (forge_rest, ProblemKind.REWRITTEN),
    ],
)
def test_fault_that_files_cannot_show_is_found_by_expectation(
    written: Path, records: Records, damage: Callable[[Path], None], kind: ProblemKind
) -> None:
    """A cut-off tail and a chain made anew pass by themselves, and fail against what was noted before."""
    expect = expectation(records)
    damage(written)
    if damage is not forge_rest:
        assert verify_trail(written).ok
    assert kind in {problem.kind for problem in verify_trail(written, expect=expect).problems}


def test_chain_made_anew_from_the_start_is_found_by_expectation(directory: Path, records: Records) -> None:
    """A whole other chain, valid in itself, fails against any record noted before."""
    other = chain_of((record.at, None, Event("x")) for record in records)
    Trail.open(directory).append(other)
    assert verify_trail(directory).ok
    (problem,) = verify_trail(directory, expect=[(4, records[3].hash)]).problems
    assert problem.kind is ProblemKind.REWRITTEN


def test_several_faults_are_all_found(written: Path) -> None:
    """The walk goes on behind a fault: a later one is found too."""
    edit(written)
    rewrite(written / DAY_4, lambda lines: lines.pop(1))
    report = verify_trail(written)
    assert [problem.kind for problem in report.problems] == [ProblemKind.EDITED, ProblemKind.MISSING]
    assert [problem.text for problem in report.problems if "record 8 is missing before record 9" in problem.text]


def test_list_of_problems_is_bounded(directory: Path) -> None:
    """However many faults there are, the list stays short, and their number is still told."""
    directory.mkdir(parents=True)
    (directory / DAY_1).write_bytes(b"{}\n" * 250)
    report = verify_trail(directory)
    assert (len(report.problems), report.problem_count) == (check.LISTED_AT_MOST, 250)


def test_both_sides_agree_on_the_longest_line(directory: Path) -> None:
    """The longest record that can be written can be verified."""
    room = chain.LONGEST_LINE_BYTES - len(link(GENESIS, START, None, Event("x", {"text": ""}), node="h").line)
    longest = link(GENESIS, START, None, Event("x", {"text": "x" * room}), node="h")
    Trail.open(directory).append([longest])
    assert verify_trail(directory, expect=[(1, longest.hash)]).ok


def test_unreadable_file_is_a_problem(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that the disk does not give is reported, and the walk goes on with the others."""
    real = reading.lines

    def failing(path: Path) -> object:
        if path.name == DAY_2:
            raise OSError(5, "I/O error")
        return real(path)

    monkeypatch.setattr(reading, "lines", failing)
    kinds = [problem.kind for problem in verify_trail(written).problems]
    assert kinds == [ProblemKind.UNREADABLE_FILE, ProblemKind.MISSING]


# Properties: any trail passes, and no single change to one does.

values = st.text(max_size=5) | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
steps = st.tuples(
    st.timedeltas(timedelta(hours=-30), timedelta(hours=30)),
    st.none() | st.text(max_size=5),
    st.builds(Event, st.text(max_size=5), st.dictionaries(st.text(max_size=5), values, max_size=2)),
)
sequences = st.lists(steps, min_size=1, max_size=8)
thorough = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def make_trail(directory: Path, sequence: list[tuple[timedelta, str | None, Event]]) -> Records:
    """Write a trail of these events, each so much later (or earlier, by the clock) than the one before."""
    at, events = START, []
    for passed, document, event in sequence:
        at += passed
        events.append((at, document, event))
    records = chain_of(events)
    Trail.open(directory).append(records)
    return records


@thorough
@given(sequences)
def test_any_sequence_of_events_verifies(sequence: list[tuple[timedelta, str | None, Event]]) -> None:
    """Whatever happens, in whatever time, with the clock going back too, the trail passes."""
    with tempfile.TemporaryDirectory() as name:
        records = make_trail(Path(name), sequence)
        report = verify_trail(Path(name), expect=[(record.seq, record.hash) for record in records])
        assert report.problems == ()
        assert report.records == len(records)
        assert all(before.at <= after.at for before, after in pairwise(records))


@thorough
@given(sequences, st.data())
def test_any_changed_byte_is_found(sequence: list[tuple[timedelta, str | None, Event]], data: st.DataObject) -> None:
    """No byte of any file can be another without being found, even by somebody who has only the files."""
    with tempfile.TemporaryDirectory() as name:
        make_trail(Path(name), sequence)
        path = data.draw(st.sampled_from(sorted(Path(name).iterdir())))
        content = bytearray(path.read_bytes())
        position = data.draw(st.integers(0, len(content) - 1))
        content[position] ^= data.draw(st.integers(1, 255))
        path.write_bytes(content)
        assert not verify_trail(Path(name)).ok


@thorough
@given(sequences, st.data())
def test_any_change_of_lines_is_found(sequence: list[tuple[timedelta, str | None, Event]], data: st.DataObject) -> None:
    """No line can be removed, repeated, moved or put in another file, and no tail cut, without being found."""
    with tempfile.TemporaryDirectory() as name:
        records = make_trail(Path(name), sequence)
        paths = sorted(Path(name).iterdir())
        path, target = (data.draw(st.sampled_from(paths)) for _ in range(2))
        before = [line for each in paths for line in lines_of(each)]
        contents = {each: lines_of(each) for each in paths}
        number = data.draw(st.integers(0, len(contents[path]) - 1))
        kind = data.draw(st.sampled_from(["remove", "repeat", "move", "cut"]))
        if kind == "cut":
            del contents[path][number:]
        else:
            line = contents[path][number] if kind == "repeat" else contents[path].pop(number)
            if kind != "remove":
                contents[target].insert(data.draw(st.integers(0, len(contents[target]))), line)
        # Moving a line to where it was is no change; to the start or end of another day's file is one.
        assume(target != path or before != [line for each in paths for line in contents[each]])
        for each, lines in contents.items():
            each.write_bytes(b"".join(lines))
        assert not verify_trail(Path(name), expect=expectation(records)).ok


@thorough
@given(sequences, st.data())
def test_any_missing_day_is_found(sequence: list[tuple[timedelta, str | None, Event]], data: st.DataObject) -> None:
    """No day's file can be missing without being found."""
    with tempfile.TemporaryDirectory() as name:
        records = make_trail(Path(name), sequence)
        data.draw(st.sampled_from(sorted(Path(name).iterdir()))).unlink()
        assert not verify_trail(Path(name), expect=expectation(records)).ok


PLAIN_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), PLAIN_JSON, max_size=3))
def test_the_fast_spelling_is_the_canonical_one(content: dict[str, object]) -> None:
    """Whatever is spelled by the standard library, for it takes less time, is spelled as RFC 8785 says."""
    assume(check._is_plain(content))
    assert check._spell_plain(content) == check.rfc8785.dumps(content)  # type: ignore[arg-type]


@pytest.mark.parametrize("content", [{"a": 1e21}, {"a": [{"b": 0.5}]}, {"\U0001f600": 1, "\ufb33": 2}])
def test_what_the_two_spell_differently_is_not_plain(content: dict[str, object]) -> None:
    """Fractions and names beyond the basic plane are left to RFC 8785."""
    assert not check._is_plain(content)

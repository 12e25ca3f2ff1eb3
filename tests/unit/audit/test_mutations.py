"""Any trail, cut off at any byte, ends whole; and with any one thing put in, taken out or cut off, it is found."""

import tempfile
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from properties import tried
from sealdrop.audit import Trail, verify_trail
from sealdrop.audit.chain import link
from sealdrop.model import GENESIS, AuditHead, AuditRecord, Event

from .conftest import START, chain_of, expected_files, head_of, read_files

steps = st.tuples(
    st.sampled_from([timedelta(0), timedelta(seconds=1), timedelta(hours=30), timedelta(hours=-30)]),
    st.sampled_from([None, "20260301-0011223344556677"]),
    st.builds(
        Event, st.sampled_from(["a", "b"]), st.dictionaries(st.text(max_size=3), st.text(max_size=9), max_size=1)
    ),
)


@st.composite
def chains(draw: st.DrawFn) -> tuple[AuditRecord, ...]:
    """A chain of records over some days."""
    at, events = START, []
    for passed, document, event in draw(st.lists(steps, min_size=1, max_size=7)):
        at += passed
        events.append((at, document, event))
    return chain_of(events)


@tried(80)
@given(chains(), st.data())
def test_a_writer_cut_off_at_any_byte_ends_whole(records: tuple[AuditRecord, ...], data: st.DataObject) -> None:
    """Whatever part of an append reached the disk, giving the same records again, in any batches, makes it whole."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        acknowledged = data.draw(st.integers(0, len(records)))
        Trail.open(folder).append(records[:acknowledged])
        sure = read_files(folder)
        # What the next append had written when it was cut off: so many bytes, day after day.
        left = data.draw(st.integers(0, 400 * (len(records) - acknowledged)))
        for file, content in expected_files(records).items():
            new = content[len(sure.get(file, b"")) :]
            if new and left >= 0:  # with nothing left, the file may have been created
                (folder / file).write_bytes(sure.get(file, b"") + new[:left])
                left = left - len(new) if left > len(new) else -1
        # The caller may begin with records that were acknowledged, and never leaves one out.
        start = data.draw(st.integers(0, acknowledged))
        cuts = data.draw(st.sets(st.integers(start, len(records)), max_size=3)) | {start, len(records)}
        trail = Trail.open(folder)
        for begin, end in pairwise(sorted(cuts)):
            trail = data.draw(st.sampled_from([trail, Trail.open(folder)]))
            trail.append(records[begin:end])
        assert read_files(folder) == expected_files(records)
        assert verify_trail(folder, expect=[(records[-1].seq, records[-1].hash)]).ok


@tried(150)
@given(chains(), st.data())
def test_any_cut_is_found(records: tuple[AuditRecord, ...], data: st.DataObject) -> None:
    """A trail cut off anywhere, with or without its later days, fails against its noted head."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        Trail.open(folder).append(records)
        paths = sorted(folder.iterdir())
        index = data.draw(st.integers(0, len(paths) - 1))
        content = paths[index].read_bytes()
        paths[index].write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
        if data.draw(st.booleans()):
            for path in paths[index + 1 :]:
                path.unlink()
        assert not verify_trail(folder, expect=[(records[-1].seq, records[-1].hash)]).ok


@tried(150)
@given(chains(), st.data())
def test_anything_put_in_or_taken_out_is_found(records: tuple[AuditRecord, ...], data: st.DataObject) -> None:
    """Bytes put in or taken out, lines swapped, a record forged to fit: all are found, mostly by the files alone."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        Trail.open(folder).append(records)
        path = data.draw(st.sampled_from(sorted(folder.iterdir())))
        content = path.read_bytes()
        lines = content.splitlines(keepends=True)
        at = data.draw(st.integers(0, len(content)))
        number = data.draw(st.integers(0, len(lines)))
        match data.draw(st.sampled_from(["bytes in", "byte out", "line in", "forged", "swap", "file"])):
            case "bytes in":
                content = content[:at] + data.draw(st.binary(min_size=1, max_size=3)) + content[at:]
            case "byte out":
                at = min(at, len(content) - 1)
                content = content[:at] + content[at + 1 :]
            case "line in":
                line = data.draw(st.sampled_from([b"\n", b"{}\n", b"null\n", b"\0\n"]))
                content = b"".join([*lines[:number], line, *lines[number:]])
            case "forged":
                # Made with the service's own program, by somebody who read the trail: it follows what it stands behind.
                head = head_of(records[data.draw(st.integers(0, len(records) - 1))])
                head = data.draw(st.sampled_from([head, GENESIS, AuditHead(head.seq - 1, head.hash, head.at)]))
                forged = link(head, head.at or START, None, Event("forged"), node="host-1")
                content = b"".join([*lines[:number], forged.line.encode() + b"\n", *lines[number:]])
                if forged.seq == len(records) + 1 and path == max(folder.iterdir()) and number == len(lines):
                    # One record more at the end is no damage to what was noted. The ledger knows that it wrote less.
                    return
            case "swap" if len(lines) > 1:
                first, second = data.draw(st.permutations(range(len(lines))).map(lambda order: order[:2]))
                lines[first], lines[second] = lines[second], lines[first]
                content = b"".join(lines)
            case _:
                (folder / data.draw(st.sampled_from(["x", "2026-03-01.jsonl~", "2026-3-1.jsonl"]))).write_bytes(b"")
        path.write_bytes(content)
        assert not verify_trail(folder, expect=[(records[-1].seq, records[-1].hash)]).ok

"""How much memory one document takes on its way, whatever its size and shape, and who holds it.

What counts is the proportional set size of the service's processes, all of them, where a page that several share counts
once. The stand-in and the benchmark itself do not count. Beside it, the highest resident size that the kernel has noted
for each process, however short it was, shows that no peak fell between two looks.
"""

import random
import threading
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from stage import family, is_ready, moment, service, stage

LOOK_S = 0.01
NOISE_BYTES = 1_000_000
PICTURE_BYTES = 4_000_000
CHILDREN = ("inspect", "verify")
KIB = 1024


@dataclass(slots=True)
class Memory:
    """Bytes by kind of process: the most that all of them had together, and the highest that each kind had resident."""

    held: Mapping[str, int] = field(default_factory=Counter)
    resident: Mapping[str, int] = field(default_factory=Counter)

    @property
    def total_bytes(self) -> int:
        """The most that all had together."""
        return sum(self.held.values())


def scan(size_bytes: int, picture_bytes: int = PICTURE_BYTES) -> bytes:
    """Return a PDF as a scanner makes it: pages that show a picture each; both sizes are multiples of 1 MB."""
    noise = random.Random(size_bytes).randbytes(NOISE_BYTES)
    picture_bytes = min(picture_bytes, size_bytes)
    pages = size_bytes // picture_bytes
    kids = b" ".join(b"%d 0 R" % (3 + 3 * page) for page in range(pages))
    out = bytearray(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
    places: list[int] = []

    def put(dictionary: bytes, *data: bytes) -> None:
        places.append(len(out))
        out.extend(b"%d 0 obj\n" % len(places) + dictionary)
        if data:
            out.extend(b"\nstream\n")
            for part in data:
                out.extend(part)
            out.extend(b"\nendstream")
        out.extend(b"\nendobj\n")

    put(b"<< /Type /Catalog /Pages 2 0 R >>")
    put(b"<< /Type /Pages /Kids [%b] /Count %d >>" % (kids, pages))
    whole = memoryview(noise)
    for page in range(pages):
        content, picture = 4 + 3 * page, 5 + 3 * page
        put(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents %d 0 R "
            b"/Resources << /XObject << /I %d 0 R >> >> >>" % (content, picture)
        )
        put(b"<< /Length 7 >>", b"q /I Do")
        put(
            b"<< /Type /XObject /Subtype /Image /Width %d /Height 1 /BitsPerComponent 8 /ColorSpace /DeviceGray "
            b"/Length %d >>" % (picture_bytes, picture_bytes),
            *(whole[page:], whole[:page]) * (picture_bytes // NOISE_BYTES),
        )
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(places) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(places) + 1, start)
    return bytes(out)


def memory(directory: Path, content: bytes) -> Memory:
    """Return the most memory that the service holds while one document, a PDF of these bytes, goes through."""
    with stage(directory, [content]) as at:
        aside, dropped = directory / "aside.pdf", at.inbound() / "dropped.pdf"
        aside.write_bytes(content)
        del content
        with service(at) as process:
            moment(lambda: is_ready(at, process))
            watch = Watch(process.pid)
            watch.start()
            aside.rename(dropped)
            folder = at.config.folders["one"]
            moment(lambda: at.receipts() == 1 or any(folder.rejected.glob("*.txt")), every_s=0.05)
            most = watch.end()
            if at.receipts() != 1:
                raise RuntimeError(f"the document was not sealed: see {directory}")
    with suppress(FileNotFoundError):
        for path in directory.rglob("*.pdf"):
            path.unlink()
    return most


class Watch(threading.Thread):
    """Looks at a process and its descendants until it is told to end."""

    def __init__(self, process: int, *, every_s: float = LOOK_S) -> None:
        super().__init__(daemon=True)
        self._every_s = every_s
        self._process = process
        self._ended = threading.Event()
        self._most = Memory()

    def run(self) -> None:
        """Look until told to end."""
        while not self._ended.wait(self._every_s):
            self._look()

    def end(self) -> Memory:
        """Look once more; return the most that was seen."""
        self._ended.set()
        self.join()
        self._look()
        return self._most

    def _look(self) -> None:
        held, resident = Counter[str](), Counter[str](self._most.resident)
        forked = None
        for process in family(self._process):
            with suppress(OSError, ValueError):
                kind = _kind(process, self._process, forked)
                if kind == "fork server":
                    forked = process
                held[kind] += _kib(process, "smaps_rollup", "Pss") * KIB
                resident[kind] = max(resident[kind], _kib(process, "status", "VmHWM") * KIB)
        if held.total() > self._most.total_bytes:
            self._most.held = held
        self._most.resident = resident


def _kind(process: int, daemon: int, fork_server: int | None) -> str:
    """Return what sort of process it is; a fork server comes before its children."""
    if process == daemon:
        return "daemon"
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    if int(fields[1]) == fork_server:
        name = Path(f"/proc/{process}/comm").read_text().strip()
        return f"child that {'inspects' if name == 'inspect' else 'verifies'}" if name in CHILDREN else "children"
    return "resource tracker" if b"resource_tracker" in Path(f"/proc/{process}/cmdline").read_bytes() else "fork server"


def _kib(process: int, file: str, key: str) -> int:
    """Return a figure in KiB that the kernel tells of a process."""
    for line in Path(f"/proc/{process}/{file}").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1])
    raise ValueError(f"/proc/{process}/{file} tells no {key}")

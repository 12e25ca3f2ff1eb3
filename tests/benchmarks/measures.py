"""How much memory one document takes on its way, whatever its size."""

import threading
from contextlib import suppress
from pathlib import Path

from stage import MIB, drop, is_ready, moment, pdf, pss_mib, service, stage


class Memory(threading.Thread):
    """Looks at the memory of a process and its children, and keeps the most that it saw."""

    def __init__(self, process: int, *, every_s: float = 0.02) -> None:
        super().__init__(daemon=True)
        self.most_mib = 0.0
        self._every_s = every_s
        self._process = process
        self._ended = threading.Event()

    def run(self) -> None:
        """Look until told to end."""
        while not self._ended.wait(self._every_s):
            self.most_mib = max(self.most_mib, pss_mib(self._process))

    def end(self) -> float:
        """Look no more; return the most in MiB."""
        self._ended.set()
        self.join()
        return self.most_mib


def memory(directory: Path, size_bytes: int) -> float:
    """Return the most memory (PSS, MiB) that the service and its children use while one document goes through."""
    content = pdf(size_bytes)
    with stage(directory, [content]) as at:
        moves = at.made_ready([content], 1)
        with service(at) as process:
            moment(lambda: is_ready(at, process))
            watch = Memory(process.pid)
            watch.start()
            drop(moves)
            moment(lambda: at.receipts() == 1 or any(at.config.folders["one"].rejected.glob("*.txt")), every_s=0.05)
            most_mib = watch.end()
            if at.receipts() != 1:
                raise RuntimeError(f"the document of {size_bytes // MIB} MiB was not sealed: see {directory}")
    with suppress(FileNotFoundError):
        for path in directory.rglob("*.pdf"):
            path.unlink()
    return most_mib

"""The fault plan: a file that says which of the next calls and seals go wrong.

It is a JSON list of faults (`faults`), read again whenever it changes, so it can be written while the sandbox runs, in
one step (by renaming). The first entry that fits a call is the one that strikes. How often each has struck is kept in a
file of its own, so that neither a restart nor a change elsewhere in the plan starts an entry again. An entry is known
by its ``id``, or else by its words; taking it out of the plan forgets it.

A plan that cannot be read is never ignored: the sandbox does not start, or answers every call with the complaint.
"""

import json
import os
import secrets
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from threading import RLock

from sealdrop.sandbox import files
from sealdrop.sandbox.errors import SandboxError
from sealdrop.sandbox.faults import Fault, Kind, Operation


class FaultPlan:
    """The plan at ``path``, with what it has used up kept at ``used_path``; safe to share between threads.

    The methods that change the plan write the file; whatever else writes it is seen by the next call.
    """

    def __init__(self, path: Path, used_path: Path) -> None:
        self.path = path
        self._used_path = used_path
        self._lock = RLock()
        self._stamp: tuple[int, ...] | None = None
        self._faults: tuple[Fault, ...] = ()
        self._used: dict[str, int] = {}
        if used_path.exists():
            self._used = json.loads(used_path.read_bytes())

    def add(self, fault: Kind | str, operation: Operation | str = Operation.ANY, **parameters: object) -> str:
        """Put a fault at the end of the plan; return its id.

        Raises:
            SandboxError: there is no such fault, or it takes other parameters.
        """
        new = Fault.parse({"fault": fault, "operation": operation, **parameters}, secrets.token_hex(6))
        with self._lock:
            self._write([*self.faults(), new])
        return new.id

    def remove(self, fault_id: str) -> None:
        """Take the fault ``fault_id`` out of the plan, if it is there."""
        with self._lock:
            self._write([fault for fault in self.faults() if fault.id != fault_id])

    def clear(self) -> None:
        """Empty the plan: nothing goes wrong any more, what is stuck goes on."""
        with self._lock:
            self._write([])

    def faults(self) -> tuple[Fault, ...]:
        """Return the plan as it is now.

        Raises:
            SandboxError: the file is not a fault plan; the message says where.
        """
        with self._lock:
            self._refresh()
            return self._faults

    def remaining(self, fault_id: str) -> int:
        """Return how often the fault ``fault_id`` will still strike.

        Raises:
            SandboxError: the file is not a fault plan.
        """
        return sum(self._left(fault) for fault in self.faults() if fault.id == fault_id)

    def take(self, operation: Operation, kinds: AbstractSet[Kind]) -> Fault | None:
        """Use up and return the first fault of ``kinds`` that fits ``operation``, if any is left.

        Raises:
            SandboxError: the file is not a fault plan.
        """
        with self._lock:
            for fault in self.faults():
                fits = fault.operation in (operation, Operation.ANY) and fault.fault in kinds
                if fits and self._left(fault):
                    self._used[fault.id] = self._used.get(fault.id, 0) + 1
                    self._keep_used()
                    return fault
            return None

    def holds(self, fault_id: str) -> bool:
        """Return whether the fault ``fault_id`` is in the plan, used up or not.

        Raises:
            SandboxError: the file is not a fault plan.
        """
        return any(fault.id == fault_id for fault in self.faults())

    def _left(self, fault: Fault) -> int:
        return max(0, fault.times - self._used.get(fault.id, 0))

    def _refresh(self) -> None:
        try:
            found = os.stat(self.path)
            stamp: tuple[int, ...] = (found.st_ino, found.st_size, found.st_mtime_ns)
        except FileNotFoundError:
            stamp = ()
        if stamp == self._stamp:
            return
        self._faults = _read(self.path) if stamp else ()
        self._stamp = stamp
        known = {fault.id for fault in self._faults}
        if self._used.keys() - known:
            self._used = {key: count for key, count in self._used.items() if key in known}
            self._keep_used()

    def _write(self, faults: Sequence[Fault]) -> None:
        text = ",\n ".join(fault.to_json() for fault in faults)
        files.write(self.path, f"[{text}]\n".encode())

    def _keep_used(self) -> None:
        files.write(self._used_path, json.dumps(self._used).encode())


def _read(path: Path) -> tuple[Fault, ...]:
    try:
        items = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise SandboxError(f"the fault plan {path} cannot be read: {error}") from error
    if not isinstance(items, list):
        raise SandboxError(f"the fault plan {path} must be a list")
    faults: list[Fault] = []
    seen: dict[str, int] = {}
    for position, item in enumerate(items):
        words = json.dumps(item, sort_keys=True)
        seen[words] = seen.get(words, 0) + 1
        try:
            faults.append(Fault.parse(item, f"{words} #{seen[words]}"))
        except SandboxError as error:
            raise SandboxError(f"the fault plan {path}, entry {position + 1}: {error}") from error
    return tuple(faults)

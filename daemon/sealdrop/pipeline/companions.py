"""The files that go with a document: its sidecar ``<name>.pdf.json``, its checksum file ``<name>.pdf.sha256``.

Only a document whose name ends with ``.pdf``, in letters of any size, has companions; their own endings are written in
small letters. Where a folder ignores a kind of companion, such a file is a file like any other.

Whether they are all right is judged twice by the same rules: while they stand in inbound, since one that is not may
still be being written; and when the document is validated, from the copies in the spool, which is what counts.
"""

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

from sealdrop.config import Folder, VisibleUnits
from sealdrop.model import CompanionFault, CompanionKind, Document, FileIdentity, Finding, Reason, Sha256, Wishes
from sealdrop.pipeline.below import folder_below, open_file
from sealdrop.pipeline.checksum import CHECKSUM_MAX_BYTES, read_checksum
from sealdrop.pipeline.intake import NotTaken, unfit_for
from sealdrop.pipeline.sidecar import SIDECAR_MAX_BYTES, read_sidecar
from sealdrop.pipeline.writers import Writer, writer_of
from sealdrop.visible.lines import seal_text_problem
from sealdrop.visible.settle import image_size_px

DOCUMENT_SUFFIX = ".pdf"
MAX_BYTES = {CompanionKind.SIDECAR: SIDECAR_MAX_BYTES, CompanionKind.CHECKSUM: CHECKSUM_MAX_BYTES}
INVALID = {CompanionKind.SIDECAR: Reason.SIDECAR_INVALID, CompanionKind.CHECKSUM: Reason.CHECKSUM_INVALID}
MISSING = {CompanionKind.SIDECAR: Reason.SIDECAR_MISSING, CompanionKind.CHECKSUM: Reason.CHECKSUM_MISSING}


def may_have_companions(name: str) -> bool:
    """Return whether a document of this name may have any."""
    return name.lower().endswith(DOCUMENT_SUFFIX)


def document_of(path: Path, folder: Folder) -> Path | None:
    """Return where the document stands, or would, that the file is a companion of; None if it is none there."""
    for kind in CompanionKind:
        name = path.name.removesuffix(kind.suffix)
        if name != path.name and may_have_companions(name) and folder.rule_for(kind) != "ignore":
            return path.with_name(name)
    return None


def companion_of(path: Path, kind: CompanionKind) -> Path:
    """Return where a document's companion of that kind stands, or would."""
    return path.with_name(path.name + kind.suffix)


@dataclass(frozen=True, slots=True)
class Seen:
    """A companion as it stands in inbound.

    ``said`` is what it holds, or what is wrong with that. ``unfit`` is why it cannot be taken whatever it holds: it is
    a link, or may not be read, or is far larger than any. ``is_written`` if somebody has it open for writing, and
    ``is_held`` if nobody else may open it meanwhile.
    """

    identity: FileIdentity | None = None
    said: Wishes | Sha256 | CompanionFault | None = None
    unfit: NotTaken | None = None
    is_written: bool = False
    is_held: bool = False

    @property
    def is_unfinished(self) -> bool:
        """Whether somebody may still be at work on it."""
        return self.is_written or (isinstance(self.said, CompanionFault) and self.said.may_be_unfinished)


def look_at(inbound: Path, path: Path, kind: CompanionKind) -> Seen | None:
    """Return what stands at ``path``, below ``inbound``; None if nothing does, or a folder.

    No link is followed, nobody waited for.

    Raises:
        OSError: its folder cannot be opened.
    """
    relative = path.relative_to(inbound)
    with folder_below(inbound, relative.parent) as folder:
        try:
            status = os.stat(relative.name, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                return None
            unfit = unfit_for(relative.name, status)
            if unfit is not None:
                return Seen(unfit=unfit)
            fd = open_file(relative.name, folder=folder)
        except FileNotFoundError:
            return None
        except BlockingIOError:
            return Seen(FileIdentity.of(status), is_written=True, is_held=True)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                return None  # the document's own name leaves no room for the ending: there can be no such file
            return _unreadable(relative, error.strerror or "it cannot be opened")
        try:
            opened = os.fstat(fd)
            unfit = unfit_for(relative.name, opened) or _too_large(relative, kind, opened)
            if unfit is not None:
                return Seen(FileIdentity.of(opened), unfit=unfit)
            content = os.pread(fd, MAX_BYTES[kind] + 1, 0)
            return Seen(FileIdentity.of(opened), _read(kind, content), is_written=writer_of(fd) is Writer.SOME)
        except OSError as error:
            return _unreadable(relative, f"it cannot be read: {error.strerror}")
        finally:
            os.close(fd)


def _unreadable(relative: PurePath, detail: str) -> Seen:
    return Seen(unfit=NotTaken(str(relative), Reason.FILE_UNREADABLE, detail))


def _too_large(relative: PurePath, kind: CompanionKind, status: os.stat_result) -> NotTaken | None:
    """Return why a file is left where it is that is larger than any of its kind: the spool need not hold it."""
    if status.st_size <= MAX_BYTES[kind]:
        return None
    return NotTaken(str(relative), INVALID[kind], f"it is larger than {MAX_BYTES[kind]:,} bytes")


def wishes_in(copy: Path) -> Wishes | None:
    """Return what the sidecar at ``copy`` asks for, None if it cannot be understood.

    Raises:
        OSError: it cannot be read.
    """
    said = _read_copy(CompanionKind.SIDECAR, copy)
    return said if isinstance(said, Wishes) else None


def fault_of(
    document: Document, folder: Folder, units: VisibleUnits, copies: Mapping[CompanionKind, Path]
) -> Finding | None:
    """Return what is wrong with what came with the document, or None.

    Raises:
        OSError: a copy cannot be read, or is gone.
        Retryable: the image of the folder's visible seal cannot be used now.
    """
    name = document.name.rpartition("/")[2]
    # The checksum first: where the content is not what it was to be, nothing else matters.
    for kind in (CompanionKind.CHECKSUM, CompanionKind.SIDECAR):
        if all(companion.kind is not kind for companion in document.companions):
            continue
        said = _read_copy(kind, copies[kind])
        if isinstance(said, CompanionFault):
            return Finding(INVALID[kind], f"{name}{kind.suffix}: {said.detail}")
        if isinstance(said, Wishes):
            refused = next(_refused(said, folder, units), None)
            if refused is not None:
                return Finding(Reason.SIDECAR_INVALID, f"{name}{kind.suffix}: {refused}")
        elif said != document.sha256:
            detail = f"{name}{kind.suffix} says {said}, the document that came has {document.sha256}"
            return Finding(Reason.CHECKSUM_MISMATCH, detail)
    return None


def missing_of(document: Document, folder: Folder) -> Finding | None:
    """Return what the folder requires and did not come with the document, or None."""
    came = {companion.kind for companion in document.companions}
    name = document.name.rpartition("/")[2]
    for kind in CompanionKind:
        if folder.rule_for(kind) == "required" and kind not in came:
            return Finding(MISSING[kind], f"there was no {name + kind.suffix!r} beside it")
    return None


def _refused(wishes: Wishes, folder: Folder, units: VisibleUnits) -> Iterator[str]:
    """Yield what the folder does not grant."""
    if wishes.archivers is not None:
        if not folder.seal.archive:
            yield "archivers: nothing is archived from this folder"
        for number, archiver in enumerate(wishes.archivers, 1):
            if archiver not in folder.sidecar_archivers:
                yield f"archivers, entry {number}: it is none that this folder lets a sidecar choose"
    if wishes.seal_text:
        visible = folder.seal.visible
        size_px = image_size_px(visible, units) if visible is not None else None
        problem = seal_text_problem(visible, size_px, wishes.seal_text)
        if problem is not None:
            yield f"seal_text: {problem}"


def _read_copy(kind: CompanionKind, copy: Path) -> Wishes | Sha256 | CompanionFault:
    with copy.open("rb") as file:
        return _read(kind, file.read(MAX_BYTES[kind] + 1))


def _read(kind: CompanionKind, content: bytes) -> Wishes | Sha256 | CompanionFault:
    return read_sidecar(content) if kind is CompanionKind.SIDECAR else read_checksum(content)

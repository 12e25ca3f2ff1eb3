"""Publishing: the sealed PDF and its receipt, or the original and its reason; and fetching back what was given back.

The PDF first, the receipt last: the receipt is the sign that a document is complete. Nothing is ever overwritten: a
name that is taken by something else gets the document's short ID, and where its sub-folder cannot be made or used (a
file or a link stands in its place, the path is too long, the file system knows no such names, the service may not write
into it) the document's ID is its name.

If we crash anywhere here, the same call is made again. It knows its own files again, a PDF by its digest and its
companions by the document's ID in them, and goes on from there under the same name, even if another has become free.
So a crash between the receipt and the ledger's row can at worst publish the same sealed PDF a second time, if somebody
took both files away in between.

What is copied out of the spool is compared with the digest that was verified before it gets its name.

Documents that are published together go in step: all their PDFs are given their names, and each folder is flushed once;
then all their receipts, and each folder is flushed again. For each of them it is as if it had been alone.
"""

import errno
import os
import stat
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from sealdrop.durable import (
    Named,
    copy_hashed,
    flush,
    fsync_folder,
    hash_file,
    make_subfolder,
    names_durable,
    naming,
    put_new,
    tagged_name,
    temporary_file,
    temporary_name,
)
from sealdrop.errors import Fatal, Retryable
from sealdrop.model import CompanionKind, Document, Sha256
from sealdrop.pipeline.below import folder_below, open_regular
from sealdrop.receipt import (
    MOST_BYTES,
    REASON_SUFFIX,
    REASON_TEXT_SUFFIX,
    RECEIPT_SUFFIX,
    is_sealed_not_archived,
    reason_for,
    receipt_for,
    to_bytes,
)
from sealdrop.wording import reason_text

NAME_MAX_BYTES = 255  # of a file name, on the file systems that matter (limits.h, NAME_MAX)
SEALED_SUFFIX = ".sealed.pdf"
TOGETHER_BYTES = 16 << 20  # of sealed PDFs that are published together: the first is not to wait long for the last

# What a file system answers when this name, and perhaps only this one, cannot be given.
_NOT_THIS_NAME = frozenset(
    {errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ}
)
_NONE: Mapping[CompanionKind, Path] = MappingProxyType({})
_NOT_ALLOWED = frozenset({errno.EACCES, errno.EPERM})


@dataclass(frozen=True, slots=True)
class Piece:
    """A file to publish: what is added to the document's name, and the file that holds the content, or what makes it.

    A file has the digest ``sha256``; what is made holds the document's ID, and is made only if it is to be written.
    """

    suffix: str
    content: Path | Callable[[], bytes]
    sha256: Sha256 | None = None


class _Taken(Exception):
    """A name that the document cannot be given: something else has it, or it cannot be given to any file."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A verified document, its sealed PDF, and what tells the name that it is to be given.

    Without that it keeps the one that it was dropped under. After a crash the same one must be wanted: under another,
    what was published before is not found.
    """

    document: Document
    content: Path
    wanted: Callable[[], str | None] = lambda: None


def go_together(documents: Sequence[Document]) -> Iterator[Sequence[Document]]:
    """Yield verified documents in their order, as many at a time as may be published together.

    Of two that want the same name, the later one finds it taken. That a receipt will have it is not to be seen yet, so
    whatever may be called like one goes alone; so does a duplicate, whose PDF is the earlier one's, byte for byte.
    """
    together: list[Document] = []
    size_bytes = 0
    for document in documents:
        goes_along = document.duplicate_of is None and document.name.lower().endswith(".pdf")
        size_bytes += document.sealed_size_bytes or 0
        if together and (size_bytes > TOGETHER_BYTES or not goes_along):
            yield together
            together, size_bytes = [], document.sealed_size_bytes or 0
        together.append(document)
        if not goes_along:
            yield together
            together, size_bytes = [], 0
    if together:
        yield together


# The publishing of one document, which ends with the name that it was given. It stands still whenever what it has put
# somewhere, which it yields, must be durable before it goes on.
_Publishing = Generator[Path, None, str]


def deliver(sealed: Sequence[Sealed], outbound: Path) -> list[str | Exception]:
    """Publish verified PDFs and their receipts; return the names below ``outbound`` that they were given, in order.

    Where one was not published, there is instead what would have been raised:

    - Retryable: every name that could be given is taken, or the PDF is not the one that was verified.
    - OSError: the folder cannot be written to; what stands there is at most the PDF without its receipt.
    - Fatal: the document's name leads out of the folder.
    """
    return _in_step([_delivering(each, outbound) for each in sealed])


def _delivering(sealed: Sealed, outbound: Path) -> _Publishing:
    document = sealed.document

    def pieces(name: str) -> Sequence[Piece]:
        return Piece("", sealed.content, document.sealed_sha256), _receipt(document, name)

    names = names_for(document, RECEIPT_SUFFIX, sealed.wanted())
    return (yield from _publishing(document, outbound, names, pieces))


def keep(
    document: Document,
    original: Path,
    processed: Path,
    companions: Mapping[CompanionKind, Path] = _NONE,
    *,
    is_anothers: Callable[[str], bool],
) -> str:
    """Publish the original of a document that was delivered; return the name below ``processed`` that it was given.

    Its ``companions`` stand beside it as they came.

    Nothing stands beside it that would tell it from another document's of the same content and name: ``is_anothers``
    says whether a name is known to be one's. That one is left to it.

    Raises:
        Retryable: every name that could be given is taken, or the original is not the one that was taken over.
        OSError: the folder cannot be written to; the original is still in the spool.
        Fatal: the document's name leads out of the folder.
    """
    pieces = (Piece("", original, document.sha256), *_came(document, companions))
    longest = max((piece.suffix for piece in pieces), key=len)
    names = (name for name in names_for(document, longest) if not is_anothers(name))
    return _publish(document, processed, names, lambda _: pieces)


def _came(document: Document, companions: Mapping[CompanionKind, Path]) -> Iterator[Piece]:
    """Yield what came with the document, as far as there is a copy."""
    for each in document.companions:
        if each.kind in companions:
            yield Piece(each.kind.suffix, companions[each.kind], each.sha256)


def _receipt(document: Document, sealed_name: str, suffix: str = "") -> Piece:
    return Piece(suffix + RECEIPT_SUFFIX, lambda: to_bytes(receipt_for(document, sealed_name)))


def give_back(
    document: Document, original: Path, sealed: Path, target: Path, companions: Mapping[CompanionKind, Path] = _NONE
) -> str:
    """Publish the original with the reason why it was not sealed, or not handed out; return the name it was given.

    Its ``companions`` stand beside it as they came, so that all of it can be dropped again.

    What the service returned, if anything, stands beside it: it may have been billed, and somebody must judge it. If
    nothing but its archive deposit is missing, it has a receipt that says so.

    Raises:
        Retryable: every name that could be given is taken, or the original is not the one that was taken over.
        OSError: the folder cannot be written to; the original is still in the spool.
        Fatal: the document's name leads out of the folder.
    """
    has_sealed, good_seal = sealed.exists(), is_sealed_not_archived(document)

    def pieces(name: str) -> Sequence[Piece]:
        sealed_name = f"{name}{SEALED_SUFFIX}" if has_sealed else None
        return (
            Piece("", original, document.sha256),
            *_came(document, companions),
            *([Piece(SEALED_SUFFIX, sealed, document.sealed_sha256)] if has_sealed else []),
            *([_receipt(document, f"{name}{SEALED_SUFFIX}", SEALED_SUFFIX)] if has_sealed and good_seal else []),
            Piece(REASON_TEXT_SUFFIX, reason_text(document, sealed_name and PurePosixPath(sealed_name).name).encode),
            Piece(REASON_SUFFIX, lambda: to_bytes(reason_for(document, sealed_name))),
        )

    return _publish(document, target, names_for(document, SEALED_SUFFIX + RECEIPT_SUFFIX), pieces)


def fetch_back(document: Document, copy: Path, failed: Path, companions: Mapping[CompanionKind, Path] = _NONE) -> bool:
    """Have the original that was given back in ``copy`` again, durably, and then remove it with its reason.

    So its ``companions``, as far as they still stand there: what they asked for is on record. What SignAPI returned, if
    that stands beside it, is left: nobody knows yet whether it can be had again. Returns False if the original does not
    stand there any more; then nothing was changed.

    Raises:
        OSError: it cannot be read, copied or removed; what was in ``copy`` or in the folder is still there.
    """
    if not copy.exists() and not _copy_back(document, failed, copy, "", document.size_bytes, document.sha256):
        return False
    for each in document.companions:
        if not companions[each.kind].exists():
            _copy_back(document, failed, companions[each.kind], each.kind.suffix, each.identity.size_bytes, each.sha256)
    # Also of a copy that was there: whoever made it may have been cut off before this.
    with naming(copy.parent):
        fsync_folder(copy.parent)
    # If we crash from here on, the copy is all that is needed.
    for suffix in (REASON_TEXT_SUFFIX, REASON_SUFFIX):
        _remove(document, failed, Piece(suffix, document.id.encode))
    for each in document.companions:
        if companions[each.kind].exists():
            _remove(document, failed, Piece(each.kind.suffix, companions[each.kind], each.sha256))
    _remove(document, failed, Piece("", copy, document.sha256))
    return True


def _copy_back(document: Document, failed: Path, copy: Path, suffix: str, size_bytes: int, sha256: Sha256) -> bool:
    """Have a piece that was given back in ``copy``; return whether it stood there."""
    published = _published(document)
    name = published.with_name(published.name + suffix)
    try:
        with folder_below(failed, name.parent) as folder:
            status = os.stat(name.name, dir_fd=folder, follow_symlinks=False)
            if not stat.S_ISREG(status.st_mode) or status.st_size != size_bytes:
                return False
            source = open_regular(name.name, folder=folder)
    except OSError as error:
        if isinstance(error, FileNotFoundError) or error.errno in _NOT_THIS_NAME:
            return False
        raise
    # What is not said of the file in the failed folder is the spool's trouble.
    with source, naming(copy), temporary_file(copy.parent, mode=0o600) as (target, temporary):
        _, copied = copy_hashed(Named(source, failed / name), target)
        if copied != sha256:
            return False
        flush(target)
        temporary.replace(copy)
    return True


def clear_failed(document: Document, sealed: Path, failed: Path) -> None:
    """Remove what an earlier failure left beside the original, now that ``sealed`` is delivered.

    A sealed PDF there is removed only if it is the very same.

    Raises:
        OSError: it cannot be removed.
    """
    _remove(document, failed, Piece(SEALED_SUFFIX + RECEIPT_SUFFIX, document.id.encode))
    _remove(document, failed, Piece(SEALED_SUFFIX, sealed, document.sealed_sha256))


def _remove(document: Document, failed: Path, piece: Piece) -> None:
    """Remove a piece of the document from where it was published, if it stands there and not behind a link."""
    name = _published(document)
    path = failed / name.with_name(name.name + piece.suffix)
    try:
        stands = _has_folders(failed, name) and _stands(path, piece, document)
    except _Taken:
        return
    if stands:
        path.unlink()
        fsync_folder(path.parent)


def _published(document: Document) -> PurePosixPath:
    return PurePosixPath(document.published_name or document.name)


def _publish(document: Document, root: Path, names: Iterable[str], pieces_for: Callable[[str], Sequence[Piece]]) -> str:
    (outcome,) = _in_step([_publishing(document, root, names, pieces_for)])
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _in_step(publishing: Sequence[_Publishing]) -> list[str | Exception]:
    """Publish several documents, in step: each goes on once the folders have been flushed for all that stand still.

    Returns the names that they were given, or what was raised.
    """
    outcomes: dict[int, str | Exception] = {}
    going: dict[int, Callable[[], Path]] = {number: each.__next__ for number, each in enumerate(publishing)}
    while going:
        put: dict[int, Path] = {}
        for number, go_on in going.items():
            try:
                put[number] = go_on()
            except StopIteration as end:
                outcomes[number] = end.value
            except Exception as error:  # noqa: BLE001 - it is returned, and no reason to leave the others half done
                outcomes[number] = error
        failed = names_durable(put.values())
        going = {
            number: partial(publishing[number].throw, failed[path.parent])
            if path.parent in failed
            else publishing[number].__next__
            for number, path in put.items()
        }
    return [outcomes[number] for number in range(len(publishing))]


def _publishing(
    document: Document, root: Path, names: Iterable[str], pieces_for: Callable[[str], Sequence[Piece]]
) -> _Publishing:
    free: list[tuple[str, Sequence[Piece]]] = []
    for name in names:
        pieces = pieces_for(name)
        try:
            stands = not _missing(document, root, PurePosixPath(name), pieces[:1])
            if stands:  # its PDF: a crash came between
                _missing(document, root, PurePosixPath(name), pieces)
                free = [(name, pieces)]
                break
        except _Taken:
            continue
        free.append((name, pieces))
    for name, pieces in free:
        try:
            missing = _missing(document, root, PurePosixPath(name), pieces)
            yield from _write(document, root, PurePosixPath(name), missing)
        except _Taken:
            continue
        except OSError as error:
            if not _is_the_names(error, PurePosixPath(name)):
                raise
        else:
            return name
    raise Retryable(f"every name for {document.name!r} is taken in {root}")


def _write(document: Document, root: Path, name: PurePosixPath, missing: Sequence[Piece]) -> Iterator[Path]:
    folder = make_subfolder(root, name.parent)
    # All that is to be said is ready before anything is published: of what cannot be told, nothing is.
    contents = [piece.content if isinstance(piece.content, Path) else piece.content() for piece in missing]
    for piece, content in zip(missing, contents, strict=True):
        final = folder / (name.name + piece.suffix)
        put_new(content, final, tag=document.id, sha256=piece.sha256)
        yield final
    if not missing:
        # All stands there already: whoever gave the last of these names may have been cut off before it was durable,
        # and before the temporary one beside it was gone.
        (folder / temporary_name(document.id)).unlink(missing_ok=True)
        fsync_folder(folder)


def _missing(document: Document, root: Path, name: PurePosixPath, pieces: Sequence[Piece]) -> Sequence[Piece]:
    """Return the pieces that do not stand in ``root`` under ``name`` yet.

    Raises:
        _Taken: something else stands there, or in the place of one of its folders.
    """
    try:
        if not _has_folders(root, name):
            return pieces
        return [each for each in pieces if not _stands(root / name.with_name(name.name + each.suffix), each, document)]
    except OSError as error:
        if _is_the_names(error, name):
            raise _Taken from error
        raise


def _is_the_names(error: OSError, name: PurePosixPath) -> bool:
    """Whether an error says nothing against other names: a sub-folder that is closed to us closes only itself."""
    return error.errno in _NOT_THIS_NAME or (error.errno in _NOT_ALLOWED and bool(name.parent.parts))


def _has_folders(root: Path, name: PurePosixPath) -> bool:
    """Return whether the folders of ``name`` are there.

    Raises:
        _Taken: a link or a file stands in the place of one of them.
    """
    try:
        for parent in reversed(name.parents):
            if parent.parts and not stat.S_ISDIR(os.lstat(root / parent).st_mode):
                raise _Taken
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno in _NOT_THIS_NAME:
            raise _Taken from error
        raise
    return True


def _stands(path: Path, piece: Piece, document: Document) -> bool:
    """Return whether ``piece`` stands at ``path``, False if nothing does.

    Raises:
        _Taken: something else stands there.
    """
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno in _NOT_THIS_NAME:
            raise _Taken from error
        raise
    if not stat.S_ISREG(status.st_mode):
        raise _Taken
    if isinstance(piece.content, Path):
        size_bytes = piece.content.stat().st_size
        ours = status.st_size == size_bytes and _digest(path) == (size_bytes, piece.sha256)
    else:
        # Not compared byte by byte: another version of sealdrop may have written it.
        ours = status.st_size <= MOST_BYTES and document.id.encode() in _content(path)
    if not ours:
        raise _Taken
    return True


def _content(path: Path) -> bytes:
    with open_regular(path) as file:
        return file.read(MOST_BYTES)


def _digest(path: Path) -> tuple[int, Sha256]:
    with open_regular(path) as file:
        return hash_file(file)


def names_for(document: Document, longest_suffix: str, wanted: str | None = None) -> Iterator[str]:
    """Yield the names that the document may be given, best first; each leaves room for its companions' suffix.

    The best is the ``wanted`` one, or that under which it was dropped.

    Raises:
        Fatal: the document's name leads out of the folder that it is to stand in.
    """
    path = PurePosixPath(wanted or document.name)
    if path.is_absolute() or not path.name or ".." in path.parts:
        raise Fatal(f"the ledger has a name for document {document.id} that no file has: {document.name!r}")
    limit_bytes = NAME_MAX_BYTES - len(longest_suffix.encode())
    if len(path.name.encode()) <= limit_bytes:
        yield str(path)
    for tag in (document.short_id, document.id):
        yield str(path.with_name(tagged_name(path.name, tag, limit_bytes=limit_bytes)))
    yield f"{document.id}.pdf"

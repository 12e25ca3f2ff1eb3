"""PDFs written object by object, and revisions appended to them by hand: also what no library would write."""


def _table(offsets: dict[int, tuple[int, int, str]]) -> bytes:
    lines = [b"xref\n"]
    for number, (offset, generation, kind) in sorted(offsets.items()):
        lines.append(b"%d 1\n%010d %05d %s \n" % (number, offset, generation, kind.encode()))
    return b"".join(lines)


def write(
    objects: dict[int, str],
    *,
    after: bytes = b"",
    trailer: str = "",
    size: int | None = None,
    generation: int = 0,
    free: dict[int, int] | None = None,
) -> bytes:
    """Return ``after`` with a revision that holds ``objects``, whose catalogue is number 1.

    ``free`` gives the numbers to call free, with the generation that their next use would have.
    """
    out = bytearray(after or b"%PDF-1.7\n")
    offsets = {number: (0, next_one, "f") for number, next_one in (free or {}).items()}
    if not after:
        offsets[0] = (0, 65535, "f")
    for number, body in objects.items():
        offsets[number] = (len(out), generation, "n")
        out += f"{number} {generation} obj\n{body}\nendobj\n".encode("latin-1")
    start = len(out)
    previous = f"/Prev {after.rindex(b'xref', 0, after.rindex(b'startxref'))}" if after else ""
    out += _table(offsets)
    count = max([size or 0, *(number + 1 for number in offsets)])
    out += f"trailer\n<< /Size {count} /Root 1 0 R {previous} {trailer} >>\nstartxref\n{start}\n%%EOF\n".encode()
    return bytes(out)

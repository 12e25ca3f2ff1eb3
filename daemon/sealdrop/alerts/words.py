"""What a message says, in words: what happened, since when, to what, what is not lost, what to do.

For whoever gets the mail at night and has never seen sealdrop.
"""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import JsonValue

from sealdrop import __version__
from sealdrop.alerts.matters import ENDS, News, Phase
from sealdrop.alerts.message import Message, shown
from sealdrop.model import AlertKind

WIDTH = 78
LONGEST_SUBJECT = 120
LONGEST_LIST = 20  # of what is told in one message, and of reasons, each with its number
_LABEL_WIDTH = 11


@dataclass(frozen=True, slots=True)
class Words:
    """What is said of a kind. ``title`` may hold {about}; ``safe`` says what is not lost, ``todo`` what to do."""

    title: str
    safe: str
    todo: str


_TAKEN = "Every document that was taken over has a durable copy in the state directory."

WORDS: Mapping[AlertKind, Words] = {
    AlertKind.DOCUMENT_FAILED: Words(
        "{count} failed",
        "The originals stand in the failed folder, each with its reason beside it (.reason.txt). Nothing of them was "
        "published.",
        "`sealdrop status DOCUMENT` shows all that happened to one. `sealdrop retry DOCUMENT` has one tried again that "
        "was not sealed; it refuses those that were, since another seal is billed: these are for a person to decide. "
        "If many fail alike, ask CertEurope's support.",
    ),
    AlertKind.DOCUMENT_LATE: Words(
        "documents wait too long ({about})",
        f"{_TAKEN} All go on by themselves.",
        "Look at `sealdrop status`: it names the document that waits longest, its state and its last error. If SignAPI "
        "is slow, ask CertEurope; if more is dropped than can be sealed, it passes.",
    ),
    AlertKind.DOCUMENT_STUCK: Words(
        "sealed documents cannot be checked",
        "They are sealed, and the seals are kept. Each is published only once it could be checked, which is tried "
        "again and again.",
        "Look for memory or process limits on this machine, and read the log. If it stays, report it with the log: the "
        "fault is sealdrop's or the machine's, not the documents'.",
    ),
    AlertKind.SIGNAPI_UNREACHABLE: Words(
        "SignAPI out of reach ({about})",
        f"{_TAKEN} Nothing is sealed twice: what was under way is asked for before anything is sent again. All goes on "
        "by itself when SignAPI answers.",
        "Check the network, the proxy and the client certificate (`sealdrop check`), and CertEurope's service status. "
        "Nothing needs to be dropped again.",
    ),
    AlertKind.FOLDER_UNAVAILABLE: Words(
        "a folder cannot be used ({about})",
        f"Files that were not taken over stay where they were dropped. {_TAKEN} All goes on by itself when the folder "
        "is back.",
        "See that the share is mounted, that there is room on it, and that the service's user may read and write there "
        "(`sealdrop check`).",
    ),
    AlertKind.ORIGINALS_STAY: Words(
        "originals cannot be removed from inbound ({about})",
        "The documents were taken over and go their way. Their originals are known and are not sealed a second time.",
        "Give the service's user the right to remove files there (a sticky bit on the folder forbids it), then remove "
        "what is left over. Until then people may believe that their files were not taken.",
    ),
    AlertKind.DISK_LOW: Words(
        "the disk is nearly full ({about})",
        "What was taken over goes on; new files wait in their inbound folders until there is room.",
        "Make room on the file system of the state directory. Remove nothing inside the state directory itself.",
    ),
    AlertKind.CERTIFICATE_EXPIRING: Words(
        "a certificate ends ({about})",
        "Until it ends everything works as before. Once the client certificate or SignAPI's has ended, documents wait "
        "and nothing is lost. A trust anchor is trusted beyond its end, but seals of the authority that follows it are "
        "billed and not delivered until that one is added.",
        "Client certificate: ask CertEurope for a new one, put it in the place of the old and reload the service. "
        "Trust anchor: put the authority's new certificate into the file beside the old one, and reload. SignAPI's own "
        "certificate is CertEurope's to renew.",
    ),
    AlertKind.AUDIT_BROKEN: Words(
        "the audit trail is in trouble",
        "No record is lost that the ledger has. Nothing was overwritten.",
        "Keep the state directory as it is. Run `sealdrop audit verify`, and find out who or what changed the files, "
        "or why they cannot be written, before you start the service again.",
    ),
    AlertKind.UNCLEAN_STOP: Words(
        "sealdrop did not stop properly",
        "It has started again and taken up every document where it was; what SignAPI was asked for meanwhile is asked "
        "after before anything is sent again.",
        "Look at the journal before the start (power, memory, a kill): `journalctl -u sealdrop`. Nothing needs to be "
        "dropped again.",
    ),
    AlertKind.SERVICE_BROKEN: Words(
        "sealdrop has stopped by itself",
        f"{_TAKEN} Files that are dropped now stay in their inbound folders.",
        "What is on disk cannot be trusted, so a person must look: read the log and the text above, run `sealdrop "
        "check` and `sealdrop audit verify`. Restarting alone does not mend it.",
    ),
}


def compose(news: Sequence[News], host: str, now: datetime) -> Message:
    """Return the message that tells ``news``, of which there is at least one."""
    head = f"[sealdrop {host}] {_headline(news)}"
    subject = shown(head if len(head) <= LONGEST_SUBJECT else head[: LONGEST_SUBJECT - 3] + "...")
    parts = ["\n".join(_section(each, now)) for each in news[:LONGEST_LIST]]
    if len(news) > LONGEST_LIST:
        parts.append(f"And {len(news) - LONGEST_LIST} more; `sealdrop status` shows what lasts.")
    text = "\n\n".join([*parts, "\n".join(_foot(news, host))]) + "\n"
    return Message(host, now, subject, text, tuple(_as_json(each) for each in news))


def _headline(news: Sequence[News]) -> str:
    first = _title(news[0])
    if len(news) == 1:
        return first
    if all(each.phase in ENDS for each in news):
        return f"{first}, and {len(news) - 1} more over"
    return f"{first}, and {len(news) - 1} more"


def _title(news: News) -> str:
    count = "" if news.happening is None else _documents(news.happening.count)
    title = WORDS[news.kind].title.format(about=shown(news.key.removeprefix("folder ")), count=count)
    prefix = {Phase.OVER: "over: ", Phase.WAS: "over: ", Phase.GOES_ON: "still: "}.get(news.phase, "")
    times = news.happening.count if news.happening is not None and news.kind is not AlertKind.DOCUMENT_FAILED else 1
    whole = f"{prefix}{title}{f', {times} times' if times > 1 else ''}"
    return whole[0].upper() + whole[1:] if not whole.startswith("sealdrop") else whole


def _section(news: News, now: datetime) -> Iterator[str]:
    title = _title(news)
    yield title
    yield "=" * min(len(title), WIDTH)
    words = WORDS[news.kind]
    if news.text:
        yield from _lines("What", news.text)
    if news.phase in ENDS and news.until is not None:
        yield from _lines("When", f"{_moment(news.since)} to {_moment(news.until)} ({age(news.until - news.since)})")
    elif news.happening is not None:
        yield from _lines("When", _span(news.since, news.happening.last_at))
    else:
        yield from _lines("Since", f"{_moment(news.since)} ({age(now - news.since)})")
    if news.waiting:
        waits = "waited at most" if news.phase in ENDS else "wait" if news.waiting > 1 else "waits"
        yield from _lines("Affects", f"{_documents(news.waiting)} {waits}")
    if news.happening is not None:
        yield from _happened(news)
    if news.phase in ENDS:
        yield from _lines("Not lost", "All goes on by itself; nothing needs to be dropped again.")
        return
    yield from _lines("Not lost", words.safe)
    yield from _lines("What to do", words.todo)


def _happened(news: News) -> Iterator[str]:
    happening = news.happening
    if happening is None:
        return
    shares = sorted(happening.shares.items(), key=lambda item: -item[1])
    for number, (share, count) in enumerate(shares[:LONGEST_LIST]):
        yield from _lines("" if number else "How many", f"{count:,} {share}")
    for number, sample in enumerate(happening.samples):
        named = f"{sample.name} ({sample.document})" if sample.document else sample.name
        label = "Which" if sample.document else "What"
        yield from _lines("" if number else label, f"{named}: {sample.detail}")
    more = happening.count - len(happening.samples)
    if happening.samples and more > 0:
        yield from _lines("", f"and {more:,} more")


def _lines(label: str, text: str) -> Iterator[str]:
    lead = f"{label:<{_LABEL_WIDTH}} "
    yield from textwrap.wrap(
        shown(text),
        WIDTH,
        initial_indent=lead,
        subsequent_indent=" " * len(lead),
        break_on_hyphens=False,
    )


def _foot(news: Sequence[News], host: str) -> Iterator[str]:
    yield "-- "
    yield f"sealdrop {__version__} on {host}; `sealdrop status` there shows how things stand."
    if any(each.phase in (Phase.BEGAN, Phase.GOES_ON) for each in news):
        yield "What lasts is told again now and then, and once when it is over."


def _documents(count: int) -> str:
    return "1 document" if count == 1 else f"{count:,} documents"


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _span(first: datetime, last: datetime) -> str:
    return _moment(first) if first == last else f"{_moment(first)} to {_moment(last)}"


def age(duration: timedelta) -> str:
    """Return a duration in the two units that matter."""
    minutes = max(int(duration.total_seconds()), 0) // 60
    if minutes < 1:
        return "less than a minute"
    for unit, size in (("day", 1_440), ("hour", 60)):
        if minutes >= size:
            number, rest = divmod(minutes, size)
            smaller = (
                f" {rest // 60} h"
                if unit == "day" and rest >= 60
                else f" {rest} min"
                if unit == "hour" and rest
                else ""
            )
            return f"{number} {unit}{'s' * (number > 1)}{smaller}"
    return f"{minutes} minute{'s' * (minutes > 1)}"


def _as_json(news: News) -> JsonValue:
    known: dict[str, JsonValue] = {
        "kind": news.kind.value,
        "phase": news.phase.value,
        "title": _title(news),
        "about": shown(news.key),
        "since": news.since.isoformat(),
        "until": None if news.until is None else news.until.isoformat(),
        "text": shown(news.text),
        "documents_waiting": news.waiting,
    }
    if news.happening is not None:
        shares: dict[str, JsonValue] = {shown(key): count for key, count in news.happening.shares.items()}
        known |= {
            "count": news.happening.count,
            "shares": shares,
            "samples": [
                {"name": shown(each.name), "detail": shown(each.detail), "document": each.document}
                for each in news.happening.samples
            ],
        }
    return known

"""What can be found, what it means, and what to do about it: one table, for `check`, for `run` and for docs/check.md.

`check` reports every finding. `run` refuses to start with those that are marked so: where documents would be lost,
sealed twice, sealed for nothing, or left lying for ever. What passes by itself, such as a service out of reach or a
full disk, is no reason to refuse: `run` waits for it, and says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Mark(StrEnum):
    """How good or bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"
    NOT_CHECKED = "not_checked"


class Condition(StrEnum):
    """What can be wrong, or could not be looked at: stable names, for programs."""

    CONFIGURATION_FAULTY = "configuration_faulty"
    CONFIGURATION_WRITABLE = "configuration_writable"
    SETTING_DOUBTFUL = "setting_doubtful"
    PATTERN_TOO_WIDE = "pattern_too_wide"
    OTHER_EYES = "other_eyes"
    RUNS_AS_ROOT = "runs_as_root"
    FOLDER_MISSING = "folder_missing"
    FOLDER_TO_BE_MADE = "folder_to_be_made"
    FOLDER_CANNOT_BE_MADE = "folder_cannot_be_made"
    NOT_A_FOLDER = "not_a_folder"
    FOLDER_CLOSED = "folder_closed"
    FOLDER_READ_ONLY = "folder_read_only"
    FOLDER_HANGS = "folder_hangs"
    FOLDER_BROKEN = "folder_broken"
    FOLDER_FULL = "folder_full"
    FOLDER_TIGHT = "folder_tight"
    FOLDER_FOR_ALL = "folder_for_all"
    GROUP_NOT_HANDED_DOWN = "group_not_handed_down"
    ORIGINALS_STICK = "originals_stick"
    NAMES_SHORT = "names_short"
    NAMES_CHANGED = "names_changed"
    STATE_ON_SHARE = "state_on_share"
    STATE_IN_MEMORY = "state_in_memory"
    STATE_READABLE = "state_readable"
    STATE_FULL = "state_full"
    LEDGER_BROKEN = "ledger_broken"
    LEDGER_TOO_NEW = "ledger_too_new"
    LEDGER_OLDER = "ledger_older"
    LEDGER_LARGE = "ledger_large"
    LEDGER_BUSY = "ledger_busy"
    DOCUMENTS_STRANDED = "documents_stranded"
    TROUBLES_KNOWN = "troubles_known"
    TRAIL_BROKEN = "trail_broken"
    TRAIL_MISSING = "trail_missing"
    TRAIL_SKIPPED = "trail_skipped"
    CLOCK_NOT_KEPT = "clock_not_kept"
    CLOCK_UNKNOWN = "clock_unknown"
    CLOCK_OFF = "clock_off"
    CLOCK_WRONG = "clock_wrong"
    FILE_UNREADABLE = "file_unreadable"
    SECRET_READABLE = "secret_readable"  # noqa: S105 - a name
    CREDENTIAL_ELSEWHERE = "credential_elsewhere"
    IMAGE_UNUSABLE = "image_unusable"
    VISIBLE_SEAL_UNUSABLE = "visible_seal_unusable"
    CERTIFICATE_UNUSABLE = "certificate_unusable"
    CERTIFICATE_EXPIRED = "certificate_expired"
    CERTIFICATE_NOT_YET = "certificate_not_yet"
    CERTIFICATE_EXPIRING = "certificate_expiring"
    ANCHORS_UNUSABLE = "anchors_unusable"
    ANCHOR_EXPIRED = "anchor_expired"
    ANCHORS_EXPIRED = "anchors_expired"
    ANCHOR_EXPIRING = "anchor_expiring"
    ANCHOR_NO_AUTHORITY = "anchor_no_authority"
    SERVICE_UNKNOWN_NAME = "service_unknown_name"
    SERVICE_UNREACHABLE = "service_unreachable"
    SERVER_NOT_TRUSTED = "server_not_trusted"
    SERVER_CERTIFICATE_EXPIRING = "server_certificate_expiring"
    CLIENT_REFUSED = "client_refused"
    ANSWER_NOT_UNDERSTOOD = "answer_not_understood"
    SERVICE_FAILS = "service_fails"
    ALERTS_MUTE = "alerts_mute"
    METRICS_NOT_OUT = "metrics_not_out"
    OFFLINE = "offline"


@dataclass(frozen=True, slots=True)
class Rule:
    """What a condition means: its mark, whether the service refuses to start with it, and what to do."""

    mark: Mark
    advice: str
    refuses: bool = False


def _warns(advice: str) -> Rule:
    return Rule(Mark.WARNING, advice)


def _fails(advice: str) -> Rule:
    return Rule(Mark.FAILURE, advice)


def _refuses(advice: str) -> Rule:
    return Rule(Mark.FAILURE, advice, refuses=True)


def _unseen(advice: str) -> Rule:
    return Rule(Mark.NOT_CHECKED, advice)


RULES: Mapping[Condition, Rule] = MappingProxyType(
    {
        Condition.CONFIGURATION_FAULTY: _refuses("Correct it; config.example.toml explains every key."),
        Condition.CONFIGURATION_WRITABLE: _warns(
            "Take the right to write it from everybody but root: chmod go-w on the file."
        ),
        Condition.SETTING_DOUBTFUL: _warns("Decide whether it is meant so."),
        Condition.PATTERN_TOO_WIDE: _refuses(
            "Narrow accounts.*.unknown_request_pattern to the service's very words for an unknown request: what it "
            "matches is sent again, and would be sealed twice.",
        ),
        Condition.OTHER_EYES: _unseen(
            "Run the check as root, or as the service's user, to see what the service will see."
        ),
        Condition.RUNS_AS_ROOT: _warns(
            "Give the service a user of its own that owns state_dir, or name it: --user NAME."
        ),
        Condition.FOLDER_MISSING: _refuses(
            "Create it for the service's user, mount its share, or set service.create_folders = true."
        ),
        Condition.FOLDER_TO_BE_MADE: Rule(Mark.OK, "Nothing: the service creates it when it starts."),
        Condition.FOLDER_CANNOT_BE_MADE: _refuses(
            "Create it by hand for the service's user, or let that user write to the folder above it."
        ),
        Condition.NOT_A_FOLDER: _refuses("Name a folder, or remove what stands in its place."),
        Condition.FOLDER_CLOSED: _refuses(
            "Give the service's user the rights to read, write and search it: owner, group or setfacl; and to search "
            "the folders above it.",
        ),
        Condition.FOLDER_READ_ONLY: _refuses(
            "Mount it for writing; a disk with errors is made read-only by the kernel: see dmesg."
        ),
        Condition.FOLDER_HANGS: _fails(
            "Look at the share's server and at the network; umount -l and mount it anew if need be."
        ),
        Condition.FOLDER_BROKEN: _refuses("Look at the disk or the share: dmesg, mount, its server."),
        Condition.FOLDER_FULL: _fails("Make room there; documents wait until there is some, and nothing is lost."),
        Condition.FOLDER_TIGHT: _warns("Make room there before it is needed."),
        Condition.FOLDER_FOR_ALL: _warns(
            "Give the rights to a group rather than to everybody: chmod o= on the folder."
        ),
        Condition.GROUP_NOT_HANDED_DOWN: _warns(
            "Have the folder hand its group down: chmod g+s on it, and on the folders in it that are there already."
        ),
        Condition.ORIGINALS_STICK: _fails(
            "Take the sticky bit away (chmod -t), or make the service's user the folder's owner: else originals stay "
            "in inbound after they were sealed.",
        ),
        Condition.NAMES_SHORT: _warns(
            "Use another file system, or keep names short: long ones are cut when a name is taken."
        ),
        Condition.NAMES_CHANGED: _warns("Use a file system that keeps names as they are given, and has hard links."),
        Condition.STATE_ON_SHARE: _refuses(
            "Move state_dir to a local disk: the ledger's locks and flushes cannot be relied on there, so documents "
            "could be lost or sealed twice. For a trial: service.allow_unsafe_state = true.",
        ),
        Condition.STATE_IN_MEMORY: _refuses(
            "Move state_dir to a disk: what is in memory is gone with the power, and documents with it. For a trial: "
            "service.allow_unsafe_state = true.",
        ),
        Condition.STATE_READABLE: _warns(
            "Close it to everybody but the service's user: chmod 700. Documents under way are in it."
        ),
        Condition.STATE_FULL: _fails(
            "Make room there, or lower service.min_free_mib; files wait in inbound until then."
        ),
        Condition.LEDGER_BROKEN: _refuses(
            "Do what the text says; remove nothing. Documents under way are in state_dir/spool."
        ),
        Condition.LEDGER_TOO_NEW: _refuses("Install the sealdrop that wrote it, or a newer one."),
        Condition.LEDGER_OLDER: _warns(
            "Copy state_dir first if you may want to go back; the next start brings it forward."
        ),
        Condition.LEDGER_LARGE: _unseen(
            "Look it over while the service is stopped: sqlite3 FILE 'PRAGMA quick_check'."
        ),
        Condition.LEDGER_BUSY: _warns("Try again; if it lasts, find out who holds it: fuser FILE."),
        Condition.DOCUMENTS_STRANDED: _refuses(
            "Put the folder or account back into the configuration until its documents are done."
        ),
        Condition.TROUBLES_KNOWN: _warns("See `sealdrop status`."),
        Condition.TRAIL_BROKEN: _fails(
            "Run `sealdrop audit verify` for the whole list, keep the files as they are, and find out who changed "
            "them. (The service refuses only if the trail's end does not fit the ledger.)",
        ),
        Condition.TRAIL_MISSING: _refuses("Bring the audit folder and the ledger back from one and the same backup."),
        Condition.TRAIL_SKIPPED: _unseen("Leave out --no-audit, or run `sealdrop audit verify`."),
        Condition.CLOCK_NOT_KEPT: _warns(
            "Have the clock kept right: timedatectl set-ntp true, or chrony, or the host's own way."
        ),
        Condition.CLOCK_UNKNOWN: _unseen("See timedatectl."),
        Condition.CLOCK_OFF: _warns("Have the clock set and kept right: timedatectl set-ntp true."),
        Condition.CLOCK_WRONG: _fails(
            "Set the clock before anything is dropped: seals whose time does not fit are not delivered, though they "
            "are made and billed.",
        ),
        Condition.FILE_UNREADABLE: _refuses(
            "Put the file there and let the service's user read it: chown root:GROUP, chmod 640."
        ),
        Condition.SECRET_READABLE: _warns(
            "Close it: chmod 600, or 640 with the service's group; then think of it as known."
        ),
        Condition.CREDENTIAL_ELSEWHERE: _unseen(
            "Only systemd hands it out: systemd-run --pipe --wait -p User=sealdrop -p LoadCredential=NAME:FILE "
            "sealdrop check --config FILE.",
        ),
        Condition.IMAGE_UNUSABLE: _refuses("Give a PNG or JPEG file, or leave `image` out."),
        Condition.VISIBLE_SEAL_UNUSABLE: _refuses(
            "Correct the folder's visible seal; docs/visible-seal.md explains it."
        ),
        Condition.CERTIFICATE_UNUSABLE: _refuses(
            "Give the file and the passphrase that CertEurope issued; the text says what is wrong."
        ),
        Condition.CERTIFICATE_EXPIRED: _refuses("Ask CertEurope for a new client certificate and put it in its place."),
        Condition.CERTIFICATE_NOT_YET: _refuses("Compare the clock; else wait, or use the one before it."),
        Condition.CERTIFICATE_EXPIRING: _warns(
            "Ask CertEurope for a new client certificate now: without one nothing is sealed."
        ),
        Condition.ANCHORS_UNUSABLE: _refuses("Give PEM files with certificates (docs/verification.md says which)."),
        Condition.ANCHOR_EXPIRED: _warns("Remove it once no seal of its time has to be checked."),
        Condition.ANCHORS_EXPIRED: _fails(
            "Add the authority that issues the seals now; those of another are billed, and not delivered."
        ),
        Condition.ANCHOR_EXPIRING: _warns(
            "Ask CertEurope for the authority that follows it, and add that one beside it."
        ),
        Condition.ANCHOR_NO_AUTHORITY: _warns(
            "Give the authority that issued it: with the next seal certificate nothing would chain."
        ),
        Condition.SERVICE_UNKNOWN_NAME: _fails(
            "Compare base_url with CertEurope's letter; look at the resolver: getent hosts NAME."
        ),
        Condition.SERVICE_UNREACHABLE: _fails(
            "Look at the firewall and the route to it, and at CertEurope's state. Documents wait."
        ),
        Condition.SERVER_NOT_TRUSTED: _fails(
            "Compare ca_file and base_url; if both are right, somebody stands in between."
        ),
        Condition.SERVER_CERTIFICATE_EXPIRING: _warns("Tell CertEurope, if it is theirs to renew."),
        Condition.CLIENT_REFUSED: _fails(
            "Ask CertEurope whether this certificate is known for this address and contract."
        ),
        Condition.ANSWER_NOT_UNDERSTOOD: _fails(
            "Compare accounts.*.paths.status and unknown_request_pattern with your contract's documents: until an "
            "unknown request is recognised, a document in doubt waits rather than being sealed twice.",
        ),
        Condition.SERVICE_FAILS: _fails("Try again later; tell CertEurope if it lasts. Documents wait."),
        Condition.ALERTS_MUTE: _fails(
            "Put what the channel needs in its place, then try it: sealdrop check --alerts. Documents go their way."
        ),
        Condition.METRICS_NOT_OUT: _warns(
            "Choose another port or file in [metrics], or make room for it. Documents go their way meanwhile."
        ),
        Condition.OFFLINE: _unseen("Leave out --offline."),
    }
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: ``subject`` groups, ``what`` names it, ``text`` says what was found.

    ``condition`` is None where all is well. ``advice`` is what to do; ``refuses`` says whether `run` would not start.
    """

    subject: str
    what: str
    text: str
    mark: Mark = Mark.OK
    condition: Condition | None = None
    advice: str = ""
    refuses: bool = False

    @classmethod
    def of(cls, condition: Condition, subject: str, what: str, text: str, *, advice: str = "") -> "Finding":
        """Return the finding of a condition, as the table has it; ``advice`` replaces the general one."""
        rule = RULES[condition]
        return cls(subject, what, text, rule.mark, condition, advice or rule.advice, rule.refuses)

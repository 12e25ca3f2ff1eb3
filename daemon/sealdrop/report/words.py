"""What a report says, in English and French, and how it writes numbers, times and durations.

Dates are written as 2026-11-23 in both: an auditor compares them with file names and records. (Long, because it is a
table of texts.)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from enum import StrEnum
from types import MappingProxyType

from sealdrop.model import Reason
from sealdrop.report.stories import Outcome, Stage
from sealdrop.wording import words_for

NO_BREAK = "\N{NO-BREAK SPACE}"


class Language(StrEnum):
    """The languages of a report."""

    EN = "en"
    FR = "fr"


@dataclass(frozen=True, slots=True)
class Texts:
    """All texts of a report in one language; those with braces are formats."""

    title: str
    all_folders: str
    folder: str
    folders: str
    made: str
    trail_whole: str
    trail_whole_text: str
    trail_broken: str
    trail_broken_text: str
    trail_more: str
    head: str
    glance: str
    received: str
    pages_and_size: str
    empty: str
    by_day: str
    by_month: str
    by_folder: str
    durations: str
    durations_text: str
    stage: str
    documents: str
    median: str
    p95: str
    longest: str
    not_delivered: str
    none_not_delivered: str
    reason: str
    outcome: str
    document: str
    taken_over: str
    ended: str
    name: str
    listed_part: str
    in_work: str
    in_work_text: str
    seals: str
    no_seals: str
    subject: str
    serial: str
    issuer: str
    valid: str
    count: str
    first_last: str
    not_on_record: str
    levels: str
    archives: str
    archives_none: str
    archives_count: str
    archives_annex: str
    archive_id: str
    repeats: str
    duplicates_rejected: str
    duplicates_delivered: str
    retried: str
    sent_again: str
    carried_over: str
    service: str
    service_text: str
    no_starts: str
    start: str
    host: str
    version: str
    before: str
    clean: str
    unclean: str
    trail: str
    trail_files: str
    trail_records: str
    trail_period: str
    trail_head: str
    trail_note: str
    trail_compared: str
    trail_not_compared: str
    method: str
    method_lines: tuple[str, ...]
    annex: str
    annex_text: str
    page: str
    total: str
    share: str
    unshown: str


_EN = Texts(
    title="Report on sealed documents",
    all_folders="all folders",
    folder="Folder",
    folders="Folders",
    made="Made {at} on {host} by sealdrop {version}",
    trail_whole="The audit trail is whole",
    trail_whole_text="{records} records in {files} file(s) were checked: none was changed, removed, moved or put in.",
    trail_broken="THE AUDIT TRAIL IS NOT WHOLE",
    trail_broken_text="Problems found: {problems}; records checked: {records}. The figures below were counted from what is there, and "
    "prove nothing until it is known what happened.",
    trail_more="… and {count} more: run “sealdrop audit verify”.",
    head="Head",
    glance="At a glance",
    received="taken over",
    pages_and_size="{pages} pages, {size} in all.",
    empty="No document was taken over in this period.",
    by_day="Documents taken over, by day",
    by_month="Documents taken over, by month",
    by_folder="By folder",
    durations="How long it took",
    durations_text="From the record that a document was taken over to the record that it was delivered, and the parts "
    "of that way.",
    stage="Part of the way",
    documents="Documents",
    median="Median",
    p95="95 in 100 within",
    longest="Longest",
    not_delivered="Rejected and failed documents",
    none_not_delivered="None: every document was delivered or is in work.",
    reason="Reason",
    outcome="Outcome",
    document="Document",
    taken_over="Taken over",
    ended="Ended",
    name="Name",
    listed_part="The first {listed} of {count} are listed; all are in the annex.",
    in_work="Still in work",
    in_work_text="Neither delivered nor given back when the newest record was made.",
    seals="Seals, by certificate",
    no_seals="No seal came back in this period.",
    subject="Certificate",
    serial="Serial number",
    issuer="Issued by",
    valid="Valid",
    count="Seals",
    first_last="First and last seal",
    not_on_record="Certificate not on record (sealed by an older sealdrop, or the check did not come so far)",
    levels="Levels found by the checks: {levels}.",
    archives="Archive identifiers",
    archives_none="No document was archived.",
    archives_count="Identifiers: {identifiers}; documents: {documents}.",
    archives_annex="They are too many to be printed here: all are in the annex.",
    archive_id="Archive identifier",
    repeats="Duplicates and repeats",
    duplicates_rejected="Duplicates that were rejected",
    duplicates_delivered="Duplicates to which an earlier seal was delivered once more",
    retried="Documents that somebody had tried again ({times} times in all)",
    sent_again="Requests put on record once more, after the service said that it knew nothing of them or for a retry",
    carried_over="Documents taken over earlier that ended in this period",
    service="The service",
    service_text="Starts: {starts}; stops: {stops}; starts after a stop that was not clean (killed, or the power went): "
    "{unclean}. All hosts and folders.",
    no_starts="The service was neither started nor stopped.",
    start="Start",
    host="Host",
    version="Version",
    before="Before",
    clean="stopped cleanly",
    unclean="not stopped cleanly",
    trail="The audit trail",
    trail_files="Files",
    trail_records="Records checked",
    trail_period="Records of this period",
    trail_head="Head when the report was made",
    trail_note="Keep this page: its head is proof, later, that nothing before it was changed. Check with",
    trail_compared="The end of the files was compared with a head known from elsewhere.",
    trail_not_compared="The end of the files was not compared with anything: records cut off at the end would not show.",
    method="How this was counted",
    method_lines=(
        "Everything was counted from the files of the audit trail, and from nothing else.",
        (
            "A document belongs to the period in which it was taken over. Its outcome is that of the newest record, even if "
            "that is later than the period."
        ),
        "Days and times are those of the time zone {zone}.",
        "The trail was read as far as record {seq}, of {at}.",
        (
            "The median and the 95th percentile are durations of single documents (nearest rank). Documents that somebody had "
            "tried again are left out of them, as they waited for a person."
        ),
        (
            "A seal that came back counts as a seal, also if its document failed afterwards. A duplicate’s seal is counted "
            "with the document that was sealed."
        ),
    ),
    annex="Annex",
    annex_text="{file}: one line for each document, {count} in all; SHA-256 {sha256}.",
    page="Page {page} of {pages}",
    total="Total",
    share="Share",
    unshown="‹4E2D› stands for the character with that Unicode number, which this file’s font does not have. The page "
    "in HTML and the annex show it.",
)

_FR = Texts(
    title="Rapport sur les documents cachetés",
    all_folders="tous les dossiers",
    folder="Dossier",
    folders="Dossiers",
    made="Établi le {at} sur {host} par sealdrop {version}",
    trail_whole="Le journal d’audit est intact",
    trail_whole_text="{records} enregistrements dans {files} fichier(s) ont été contrôlés : aucun n’a été modifié, supprimé, "
    "déplacé ni ajouté.",
    trail_broken="LE JOURNAL D’AUDIT N’EST PAS INTACT",
    trail_broken_text="Anomalies : {problems} ; enregistrements contrôlés : {records}. Les chiffres ci-dessous sont tirés de ce qui reste et "
    "ne prouvent rien tant que la cause n’est pas établie.",
    trail_more="… et {count} autres : lancez « sealdrop audit verify ».",
    head="Tête",
    glance="En bref",
    received="pris en charge",
    pages_and_size="{pages} pages, {size} au total.",
    empty="Aucun document n’a été pris en charge pendant cette période.",
    by_day="Documents pris en charge, par jour",
    by_month="Documents pris en charge, par mois",
    by_folder="Par dossier",
    durations="Délais",
    durations_text="De l’enregistrement de la prise en charge à celui de la remise, et par étape.",
    stage="Étape",
    documents="Documents",
    median="Médiane",
    p95="95 % en moins de",
    longest="Maximum",
    not_delivered="Documents rejetés et en échec",
    none_not_delivered="Aucun : tous les documents ont été remis ou sont en cours.",
    reason="Motif",
    outcome="Issue",
    document="Document",
    taken_over="Pris en charge",
    ended="Terminé",
    name="Nom",
    listed_part="Les {listed} premiers sur {count} sont listés ; tous figurent dans l’annexe.",
    in_work="Encore en cours",
    in_work_text="Ni remis ni rendus lors du dernier enregistrement.",
    seals="Cachets, par certificat",
    no_seals="Aucun cachet n’a été reçu pendant cette période.",
    subject="Certificat",
    serial="Numéro de série",
    issuer="Émis par",
    valid="Validité",
    count="Cachets",
    first_last="Premier et dernier cachet",
    not_on_record="Certificat non enregistré (cacheté avec un ancien sealdrop, ou contrôle interrompu avant)",
    levels="Niveaux constatés par les contrôles : {levels}.",
    archives="Identifiants d’archive",
    archives_none="Aucun document n’a été archivé.",
    archives_count="Identifiants : {identifiers} ; documents : {documents}.",
    archives_annex="Trop nombreux pour être imprimés ici : tous figurent dans l’annexe.",
    archive_id="Identifiant d’archive",
    repeats="Doublons et nouvelles tentatives",
    duplicates_rejected="Doublons rejetés",
    duplicates_delivered="Doublons pour lesquels un cachet antérieur a été remis à nouveau",
    retried="Documents relancés par une personne ({times} fois au total)",
    sent_again="Demandes enregistrées à nouveau, le service ne les connaissant pas, ou pour une relance",
    carried_over="Documents pris en charge auparavant et terminés pendant cette période",
    service="Le service",
    service_text="Démarrages : {starts} ; arrêts : {stops} ; démarrages après un arrêt anormal (processus tué ou coupure "
    "de courant) : {unclean}. Tous serveurs et dossiers confondus.",
    no_starts="Le service n’a été ni démarré ni arrêté.",
    start="Démarrage",
    host="Serveur",
    version="Version",
    before="Auparavant",
    clean="arrêté normalement",
    unclean="arrêt anormal",
    trail="Le journal d’audit",
    trail_files="Fichiers",
    trail_records="Enregistrements contrôlés",
    trail_period="Enregistrements de la période",
    trail_head="Tête lors de l’établissement du rapport",
    trail_note="Conservez cette page : sa tête prouvera plus tard que rien de ce qui précède n’a été modifié. Contrôle :",
    trail_compared="La fin des fichiers a été comparée à une tête connue par ailleurs.",
    trail_not_compared="La fin des fichiers n’a été comparée à rien : une coupure à la fin ne se verrait pas.",
    method="Mode de calcul",
    method_lines=(
        "Tout est compté à partir des fichiers du journal d’audit, et de rien d’autre.",
        (
            "Un document appartient à la période de sa prise en charge. Son issue est celle du dernier enregistrement, même "
            "postérieur à la période."
        ),
        "Les jours et heures sont ceux du fuseau {zone}.",
        "Le journal a été lu jusqu’à l’enregistrement {seq}, du {at}.",
        (
            "La médiane et le 95e centile sont des durées de documents réels (rang le plus proche). Les documents relancés "
            "par une personne n’y entrent pas, car ils attendaient quelqu’un."
        ),
        (
            "Un cachet reçu compte comme cachet, même si le document a ensuite échoué. Celui d’un doublon est compté avec le "
            "document qui a été cacheté."
        ),
    ),
    annex="Annexe",
    annex_text="{file} : une ligne par document, {count} au total ; SHA-256 {sha256}.",
    page="Page {page} sur {pages}",
    total="Total",
    share="Part",
    unshown="‹4E2D› remplace le caractère de ce numéro Unicode, absent de la police de ce fichier. La page HTML et "
    "l’annexe l’affichent.",
)

# In English, of several documents in French, of one in French.
_OUTCOMES: Mapping[Outcome, tuple[str, str, str]] = MappingProxyType(
    {
        Outcome.DELIVERED: ("delivered", "remis", "remis"),
        Outcome.REJECTED: ("rejected", "rejetés", "rejeté"),
        Outcome.FAILED: ("failed", "en échec", "en échec"),
        Outcome.IN_WORK: ("in work", "en cours", "en cours"),
    }
)

_STAGES: Mapping[Stage, tuple[str, str]] = MappingProxyType(
    {
        Stage.VALIDATION: ("examined, waiting included", "examen, attente comprise"),
        Stage.SUBMISSION: ("sent to SignAPI", "envoi à SignAPI"),
        Stage.SEALING: ("sealed and archived there", "cachet et archivage"),
        Stage.VERIFICATION: ("seal checked", "contrôle du cachet"),
        Stage.DELIVERY: ("delivered", "remise"),
        Stage.WHOLE: ("from taking over to delivery", "de la prise en charge à la remise"),
    }
)

_MONTHS_EN = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
_MONTHS_FR = [
    "janvier",
    "février",
    "mars",
    "avril",
    "mai",
    "juin",
    "juillet",
    "août",
    "septembre",
    "octobre",
    "novembre",
    "décembre",
]


class Speech:
    """One language: its texts, and how it writes figures. Times are written in ``zone``."""

    def __init__(self, language: Language, zone: tzinfo) -> None:
        self.language = language
        self.texts = _FR if language is Language.FR else _EN
        self._french = language is Language.FR
        self._zone = zone

    def outcome(self, outcome: Outcome) -> str:
        """Return an outcome in words, of several documents."""
        return _OUTCOMES[outcome][self._french]

    def outcome_of_one(self, outcome: Outcome) -> str:
        """Return an outcome in words, of one document."""
        return _OUTCOMES[outcome][2 if self._french else 0]

    def stage(self, stage: Stage) -> str:
        """Return a part of the way in words."""
        return _STAGES[stage][self._french]

    def reason(self, code: str | None) -> str:
        """Return what a reason says in words; one that this version does not know is said to be unknown."""
        try:
            words = words_for(Reason(code or ""))
        except (ValueError, KeyError):
            return code or "-"
        return words.wrong_fr if self._french else words.wrong_en

    def number(self, number: int) -> str:
        """Return a whole number, its thousands set apart."""
        return f"{number:,}".replace(",", NO_BREAK if self._french else ",")

    def decimal(self, number: float, places: int = 1) -> str:
        """Return a number with decimal places."""
        text = f"{number:,.{places}f}"
        return text.replace(",", NO_BREAK).replace(".", ",") if self._french else text

    def share(self, part: int, whole: int) -> str:
        """Return how much of ``whole`` a part is; what is not nothing is never shown as 0 %, nor less than all as 100 %."""
        if whole == 0:
            return "–"
        percent = 100 * part / whole
        if part:
            percent = max(percent, 0.1)
        if part < whole:
            percent = min(percent, 99.9)
        return f"{self.decimal(percent)}{NO_BREAK}%"

    def size(self, size_bytes: int) -> str:
        """Return a size with its unit, of a thousand each."""
        units = ("o", "ko", "Mo", "Go", "To") if self._french else ("B", "KB", "MB", "GB", "TB")
        size, unit = float(size_bytes), 0
        while size >= 1000 and unit < len(units) - 1:
            size, unit = size / 1000, unit + 1
        return f"{self.decimal(size, 1 if unit else 0)}{NO_BREAK}{units[unit]}"

    def duration(self, duration_s: float) -> str:
        """Return a duration in its two largest units; seconds with a decimal place below a minute."""
        if duration_s < 60:
            return f"{self.decimal(duration_s)}{NO_BREAK}s"
        minutes, seconds = divmod(round(duration_s), 60)
        if minutes < 60:
            return f"{minutes}{NO_BREAK}min {seconds:02}{NO_BREAK}s"
        hours, minutes = divmod(minutes, 60)
        if hours < 24:
            return f"{hours}{NO_BREAK}h {minutes:02}{NO_BREAK}min"
        days, hours = divmod(hours, 24)
        return f"{days}{NO_BREAK}{'j' if self._french else 'd'} {hours}{NO_BREAK}h"

    def moment(self, moment: datetime | None) -> str:
        """Return a moment to the second, in the report's time zone, without its name."""
        return f"{moment.astimezone(self._zone):%Y-%m-%d %H:%M:%S}" if moment else "–"

    def day(self, day: date | datetime | None) -> str:
        """Return a day."""
        if isinstance(day, datetime):
            day = day.astimezone(self._zone).date()
        return f"{day:%Y-%m-%d}" if day else "–"

    def month(self, day: date) -> str:
        """Return the month of a day by its name."""
        return f"{(_MONTHS_FR if self._french else _MONTHS_EN)[day.month - 1]} {day.year}"

"""What a person reads beside a file that was not sealed: what is wrong and what to do, in English and French.

For the office, not for programmers: programs read ``<name>.reason.json``. (Long, because it is a table of texts.)
"""

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from sealdrop.model import CHECK_REASONS, Document, Reason, State

LINE_CHARACTERS = 96


@dataclass(frozen=True, slots=True)
class Words:
    """What is wrong, and what the sender can do, in two languages."""

    wrong_en: str
    advice_en: str
    wrong_fr: str
    advice_fr: str


_PRINT_EN = "Open it, print it to a new PDF (Print, then Save as PDF) and drop the new file."
_PRINT_FR = (
    "Ouvrez-le, imprimez-le dans un nouveau PDF (Imprimer, puis Enregistrer au format PDF) et déposez ce fichier."
)
_AGAIN_EN = "Export or scan the document again and drop the new file."
_AGAIN_FR = "Exportez ou numérisez à nouveau le document, puis déposez le nouveau fichier."
_ADMIN_EN = "Please hand this file to your administrator; do not drop the document again before they answer."
_ADMIN_FR = "Transmettez ce fichier à votre administrateur ; ne déposez pas à nouveau le document avant sa réponse."
_CHOICE_EN = "Your administrator decides whether this folder accepts such files. "
_CHOICE_FR = "Votre administrateur décide si ce dossier accepte de tels fichiers. "
_CHOICE_SIZE_EN = (
    "Save the document on larger pages (A4, for instance) and drop it again. If its size is right, ask your "
    "administrator, who decides where the seal stands; the details below have the sizes."
)
_CHOICE_SIZE_FR = (
    "Enregistrez le document sur des pages plus grandes (A4, par exemple) et déposez-le à nouveau. Si son format est le "
    "bon, adressez-vous à votre administrateur, qui choisit la place du cachet ; les dimensions figurent ci-dessous."
)

WORDS: Mapping[Reason, Words] = MappingProxyType(
    {
        Reason.EMPTY: Words(
            "The file is empty.",
            _AGAIN_EN,
            "Le fichier est vide.",
            _AGAIN_FR,
        ),
        Reason.TOO_LARGE: Words(
            "The file is larger than this folder allows.",
            "Reduce it (for instance by scanning at a lower resolution), or split it into several documents.",
            "Le fichier dépasse la taille autorisée pour ce dossier.",
            "Réduisez-le (par exemple en numérisant à une résolution plus faible) ou séparez-le en plusieurs documents.",
        ),
        Reason.NOT_PDF: Words(
            "The file is not a PDF, whatever its name says.",
            "Save the document as PDF in the program that made it, and drop that file.",
            "Le fichier n'est pas un PDF, quel que soit son nom.",
            "Enregistrez le document au format PDF depuis le logiciel d'origine et déposez ce fichier.",
        ),
        Reason.ENCRYPTED_USER: Words(
            "The PDF is protected by a password.",
            "Save a copy without a password and drop that copy.",
            "Le PDF est protégé par un mot de passe.",
            "Enregistrez une copie sans mot de passe et déposez cette copie.",
        ),
        Reason.ENCRYPTED_OWNER: Words(
            "The PDF opens, but its author restricted what may be done with it, so it cannot be sealed reliably.",
            "Ask its author for a copy without restrictions, or save one without a permissions password.",
            "Le PDF s'ouvre, mais son auteur en a restreint l'usage : il ne peut pas être cacheté de façon fiable.",
            "Demandez à son auteur une copie sans restriction, ou enregistrez-en une sans mot de passe d'autorisation.",
        ),
        Reason.ENCRYPTED_UNSUPPORTED: Words(
            "The PDF is encrypted for certain readers or with a method that cannot be opened here.",
            "Ask its author for a copy that is not encrypted.",
            "Le PDF est chiffré pour certains lecteurs, ou par une méthode qui ne peut pas être ouverte ici.",
            "Demandez à son auteur une copie non chiffrée.",
        ),
        Reason.HEADER_OFFSET: Words(
            "There is something in front of the PDF in this file, so not every program would open the sealed file.",
            _PRINT_EN,
            "Des données précèdent le PDF dans ce fichier : le fichier cacheté ne s'ouvrirait pas partout.",
            _PRINT_FR,
        ),
        Reason.TRUNCATED: Words(
            "The end of the PDF is missing: the copy or the transfer was probably cut short.",
            "Copy the complete file once more.",
            "La fin du PDF manque : la copie ou le transfert a sans doute été interrompu.",
            "Copiez à nouveau le fichier complet.",
        ),
        Reason.PARSER_LIMIT: Words(
            "The PDF takes too much time or memory to be examined.",
            _PRINT_EN,
            "L'examen du PDF demande trop de temps ou de mémoire.",
            _PRINT_FR,
        ),
        Reason.UNREADABLE: Words(
            "The PDF is damaged and cannot be read.",
            _AGAIN_EN,
            "Le PDF est endommagé et ne peut pas être lu.",
            _AGAIN_FR,
        ),
        Reason.ZERO_PAGES: Words(
            "The PDF has no page.",
            _AGAIN_EN,
            "Le PDF ne contient aucune page.",
            _AGAIN_FR,
        ),
        Reason.TOO_MANY_PAGES: Words(
            "The PDF has more pages than this folder allows.",
            "Split it into several documents.",
            "Le PDF contient plus de pages que ce dossier ne l'autorise.",
            "Séparez-le en plusieurs documents.",
        ),
        Reason.XREF_BROKEN: Words(
            "The PDF's table of contents for programs is damaged; some programs repair it silently, a seal cannot.",
            _PRINT_EN,
            "La table interne du PDF est endommagée ; certains logiciels la réparent sans le dire, un cachet ne le peut pas.",
            _PRINT_FR,
        ),
        Reason.CERTIFIED_NO_CHANGES: Words(
            "The PDF is certified and forbids any change: a seal would break the certification.",
            "Use the certified document as it is, or ask its author for one that allows further signatures.",
            "Le PDF est certifié et interdit toute modification : un cachet romprait cette certification.",
            "Utilisez le document certifié tel quel, ou demandez à son auteur une version permettant d'autres signatures.",
        ),
        Reason.XFA_DYNAMIC: Words(
            "The PDF is a dynamic form whose pages are made by the program that opens it: there is nothing fixed to seal.",
            _PRINT_EN,
            "Le PDF est un formulaire dynamique dont les pages sont composées à l'ouverture : rien de fixe à cacheter.",
            _PRINT_FR,
        ),
        Reason.ACTIVE_CONTENT: Words(
            "The PDF holds a script or an action that runs by itself and could change what it shows.",
            _PRINT_EN,
            "Le PDF contient un script ou une action automatique qui pourrait modifier ce qu'il affiche.",
            _PRINT_FR,
        ),
        Reason.UNSEALABLE: Words(
            "The PDF is built in a way to which no seal can be added without breaking it.",
            _PRINT_EN,
            "La structure du PDF ne permet pas d'y ajouter un cachet sans l'abîmer.",
            _PRINT_FR,
        ),
        Reason.IMAGE_TRANSPARENCY: Words(
            "The PDF holds images with transparent areas, which the sealing service does not accept.",
            _PRINT_EN,
            "Le PDF contient des images avec des zones transparentes, que le service de cachet n'accepte pas.",
            _PRINT_FR,
        ),
        Reason.ALREADY_SIGNED: Words(
            "The PDF is already signed.",
            _CHOICE_EN + "You can ask for an unsigned copy.",
            "Le PDF est déjà signé.",
            _CHOICE_FR + "Vous pouvez demander une copie non signée.",
        ),
        Reason.CERTIFIED: Words(
            "The PDF is certified by its author.",
            _CHOICE_EN + "You can ask for a copy that is not certified.",
            "Le PDF est certifié par son auteur.",
            _CHOICE_FR + "Vous pouvez demander une copie non certifiée.",
        ),
        Reason.PDFA_CLAIM: Words(
            "The PDF says that it follows the PDF/A archiving standard, and a seal could end that.",
            _CHOICE_EN + "You can save it as an ordinary PDF.",
            "Le PDF se déclare conforme à la norme d'archivage PDF/A, qu'un cachet pourrait remettre en cause.",
            _CHOICE_FR + "Vous pouvez l'enregistrer comme PDF ordinaire.",
        ),
        Reason.ATTACHMENTS: Words(
            "The PDF carries other files inside.",
            _CHOICE_EN + "You can remove the attachments and drop them separately.",
            "Le PDF contient d'autres fichiers en pièces jointes.",
            _CHOICE_FR + "Vous pouvez retirer les pièces jointes et les déposer séparément.",
        ),
        Reason.INTERACTIVE_CONTENT: Words(
            "The PDF holds form scripts, sound or video.",
            _CHOICE_EN + _PRINT_EN,
            "Le PDF contient des scripts de formulaire, du son ou de la vidéo.",
            _CHOICE_FR + _PRINT_FR,
        ),
        Reason.XREF_LENIENT: Words(
            "The PDF's internal table is written against the rules.",
            _CHOICE_EN + _PRINT_EN,
            "La table interne du PDF ne respecte pas les règles.",
            _CHOICE_FR + _PRINT_FR,
        ),
        Reason.TRAILING_DATA: Words(
            "Something stands behind the end of the PDF in this file.",
            _CHOICE_EN + _PRINT_EN,
            "Des données suivent la fin du PDF dans ce fichier.",
            _CHOICE_FR + _PRINT_FR,
        ),
        Reason.USAGE_RIGHTS: Words(
            "The PDF carries special usage rights of Adobe Reader, which a seal would end.",
            _CHOICE_EN + _PRINT_EN,
            "Le PDF porte des droits d'utilisation propres à Adobe Reader, qu'un cachet annulerait.",
            _CHOICE_FR + _PRINT_FR,
        ),
        Reason.XFA_STATIC: Words(
            "The PDF holds an XFA form.",
            _CHOICE_EN + _PRINT_EN,
            "Le PDF contient un formulaire XFA.",
            _CHOICE_FR + _PRINT_FR,
        ),
        Reason.PORTFOLIO: Words(
            "The PDF is a portfolio, a cover around other files.",
            _CHOICE_EN + "You can take the files out and drop each of them.",
            "Le PDF est un porte-documents qui regroupe d'autres fichiers.",
            _CHOICE_FR + "Vous pouvez en extraire les fichiers et déposer chacun d'eux.",
        ),
        Reason.HYBRID_XREF: Words(
            "The PDF is written for old and new programs at once.",
            _CHOICE_EN + _PRINT_EN,
            "Le PDF est écrit à la fois pour d'anciens et de nouveaux logiciels.",
            _CHOICE_FR + _PRINT_FR,
        ),
        Reason.OTHER_TRANSPARENCY: Words(
            "The PDF uses transparency.",
            _CHOICE_EN + _PRINT_EN,
            "Le PDF utilise de la transparence.",
            _CHOICE_FR + _PRINT_FR,
        ),
        Reason.LAYERS: Words(
            "The PDF has layers that can be shown or hidden.",
            _CHOICE_EN + _PRINT_EN,
            "Le PDF a des calques que l'on peut afficher ou masquer.",
            _CHOICE_FR + _PRINT_FR,
        ),
        Reason.CHECKSUM_INVALID: Words(
            "The checksum file beside the document (.sha256) cannot be understood.",
            "Have the checksum made again by the program that sent the document, or leave it out if this folder lets you.",
            "Le fichier de contrôle joint au document (.sha256) est incompréhensible.",
            "Faites recréer ce fichier par le logiciel émetteur, ou retirez-le si ce dossier le permet.",
        ),
        Reason.CHECKSUM_MISMATCH: Words(
            "The document is not the one its checksum file (.sha256) was made for: it was changed or damaged on the way.",
            "Send the document and its checksum file once more, from where they were made.",
            "Le document n'est pas celui de son fichier de contrôle (.sha256) : il a été modifié ou abîmé en chemin.",
            "Envoyez à nouveau le document et son fichier de contrôle depuis leur origine.",
        ),
        Reason.CHECKSUM_MISSING: Words(
            "This folder only takes documents with a checksum file (.sha256) beside them, and none came.",
            "Put the document and its checksum file into the folder together.",
            "Ce dossier n'accepte que des documents accompagnés d'un fichier de contrôle (.sha256), et il n'y en avait pas.",
            "Placez le document et son fichier de contrôle ensemble dans le dossier.",
        ),
        Reason.SIDECAR_INVALID: Words(
            "The accompanying file with the document's keywords is wrong, or asks for what this folder does not allow.",
            "The details below name the file and the place. Have it corrected, and put both files back into the folder.",
            "Le fichier d'accompagnement, qui porte les mots-clés du document, est erroné ou demande ce que ce dossier ne permet pas.",
            "Les détails ci-dessous indiquent le fichier et l'endroit. Faites-le corriger, puis replacez les deux fichiers dans le dossier.",
        ),
        Reason.SIDECAR_MISSING: Words(
            "This folder only takes documents with an accompanying file beside them, and none came.",
            "Put both into the folder together; the details below give the name that the other file must have.",
            "Ce dossier n'accepte que des documents avec un fichier d'accompagnement, et il n'y en avait pas.",
            "Placez les deux ensemble dans le dossier ; les détails ci-dessous donnent le nom que l'autre fichier doit porter.",
        ),
        Reason.DUPLICATE: Words(
            "The same document was dropped here before; the details below say when, and what became of it.",
            "Use the one that was sealed then. If it never came back sealed, or you need a second seal, ask your administrator.",
            "Le même document a déjà été déposé ici ; les détails ci-dessous indiquent quand, et ce qu'il est devenu.",
            "Utilisez le document cacheté alors. S'il n'est jamais revenu cacheté, ou s'il faut un second cachet, adressez-vous à votre administrateur.",
        ),
        Reason.SEAL_OFF_PAGE: Words(
            "The visible seal has no room on the page where it should stand: the page is too small, or is not there.",
            _CHOICE_SIZE_EN,
            "Le cachet visible n'a pas la place prévue : la page est trop petite, ou le document n'a pas cette page.",
            _CHOICE_SIZE_FR,
        ),
        Reason.SEAL_REFUSED: Words(
            "The sealing service refused this document.",
            "Read the details below; if they do not help, hand this file to your administrator.",
            "Le service de cachet a refusé ce document.",
            "Lisez les détails ci-dessous ; s'ils ne suffisent pas, transmettez ce fichier à votre administrateur.",
        ),
        Reason.SEAL_FAILED: Words(
            "The sealing service could not seal this document.",
            "Read the details below; if they do not help, hand this file to your administrator.",
            "Le service de cachet n'a pas pu cacheter ce document.",
            "Lisez les détails ci-dessous ; s'ils ne suffisent pas, transmettez ce fichier à votre administrateur.",
        ),
        Reason.SEAL_DISCARDED: Words(
            "The sealing service gave this request up.",
            _ADMIN_EN,
            "Le service de cachet a abandonné cette demande.",
            _ADMIN_FR,
        ),
        Reason.ARCHIVE_FAILED: Words(
            "The document is sealed, but it could not be archived.",
            _ADMIN_EN,
            "Le document est cacheté, mais il n'a pas pu être archivé.",
            _ADMIN_FR,
        ),
        Reason.SEALED_CONTENT_MISSING: Words(
            "The service says that the document is sealed, but did not give it back.",
            _ADMIN_EN,
            "Le service indique que le document est cacheté, mais ne l'a pas rendu.",
            _ADMIN_FR,
        ),
        Reason.ARCHIVE_ID_MISSING: Words(
            "The document is sealed, but the service gave no archive identifier for it.",
            _ADMIN_EN,
            "Le document est cacheté, mais le service n'a donné aucun identifiant d'archive.",
            _ADMIN_FR,
        ),
    }
)

_COMPANION_TOO_LARGE = Words(
    "It goes with a document of the same name, and is far too large for such a file; the document waits for it.",
    "Put the right file in its place, or remove it; the document is then taken by itself.",
    "Ce fichier accompagne un document du même nom, mais il est bien trop volumineux ; le document attend.",
    "Remplacez-le par le bon fichier ou supprimez-le : le document sera alors pris en charge.",
)

# Of files that are left in inbound, and become no document.
NOTICE_WORDS: Mapping[Reason, Words] = MappingProxyType(
    {
        Reason.SYMLINK: Words(
            "It is a shortcut (symbolic link) to a file, not the file itself, and shortcuts are never followed.",
            "Remove the shortcut, and copy the document itself into the folder.",
            "C'est un raccourci (lien symbolique) vers un fichier, et non le fichier : les raccourcis ne sont jamais suivis.",
            "Supprimez le raccourci et copiez le document lui-même dans le dossier.",
        ),
        Reason.HARD_LINK: Words(
            "The same file also stands under another name (hard link), under which somebody could still change it.",
            "Remove this file, and put a real copy of the document into the folder.",
            "Le même fichier existe aussi sous un autre nom (lien physique), sous lequel il pourrait encore être modifié.",
            "Supprimez ce fichier et placez une véritable copie du document dans le dossier.",
        ),
        Reason.SPECIAL_FILE: Words(
            "It is a folder or another thing that is not a document and is not looked into.",
            "Remove it, and put the PDF itself directly into the folder.",
            "C'est un dossier, ou autre chose qui n'est pas un document, et son contenu n'est pas examiné.",
            "Supprimez-le et placez le PDF lui-même directement dans le dossier.",
        ),
        Reason.FILE_UNREADABLE: Words(
            "The service is not allowed to open it, or its content cannot be read.",
            "Remove it and copy the document once more; if that does not help, ask your administrator.",
            "Le service n'est pas autorisé à l'ouvrir, ou son contenu ne peut pas être lu.",
            "Supprimez-le et copiez à nouveau le document ; si cela ne suffit pas, adressez-vous à votre administrateur.",
        ),
        Reason.FILE_CHANGED: Words(
            "It has not been finished for a long time: it keeps changing, or some program still has it open.",
            "Close the document in every program; it is then taken by itself. If nobody works on it, copy it once more.",
            "Il n'est pas terminé depuis longtemps : il change sans cesse, ou un programme le garde ouvert.",
            "Fermez le document dans tous les logiciels : il sera alors pris en charge. Si personne n'y travaille, copiez-le à nouveau.",
        ),
        Reason.NAME_INVALID: Words(
            "Its name holds characters that are not written as they should be, so it cannot be put on record.",
            "Give it another name, of letters, digits, spaces and hyphens; it is then taken by itself.",
            "Son nom contient des caractères mal codés : il ne peut pas être enregistré.",
            "Renommez-le avec des lettres, des chiffres, des espaces et des tirets : il sera alors pris en charge.",
        ),
        Reason.COMPANION_ALONE: Words(
            "It goes with a document of the same name, and there is no such document beside it.",
            "Put the document into the same folder, or remove this file if the document was already taken.",
            "Ce fichier accompagne un document du même nom, qui ne se trouve pas à côté de lui.",
            "Placez le document dans le même dossier, ou supprimez ce fichier si le document a déjà été pris en charge.",
        ),
        Reason.OWN_RECORD: Words(
            "It is the receipt of a document that was sealed here, not a document to be sealed.",
            "Put it back beside its sealed document.",
            "C'est le reçu d'un document cacheté ici, et non un document à cacheter.",
            "Remettez-le à côté de son document cacheté.",
        ),
        Reason.TOO_LARGE: WORDS[Reason.TOO_LARGE],
        Reason.SIDECAR_INVALID: _COMPANION_TOO_LARGE,
        Reason.CHECKSUM_INVALID: _COMPANION_TOO_LARGE,
    }
)

_SEAL_CHECK = Words(
    "The document came back from the sealing service, but what came back did not pass our checks, so it is not handed out.",
    _ADMIN_EN,
    "Le document est revenu du service de cachet, mais il n'a pas passé nos contrôles : il n'est pas remis.",
    _ADMIN_FR,
)

_OF_SEAL_CHECKS = frozenset(CHECK_REASONS.values()) - set(WORDS)

# The service said no, so there is nothing that could be handed out.
_UNSEALED = frozenset({Reason.SEAL_REFUSED, Reason.SEAL_FAILED, Reason.SEAL_DISCARDED})

# It did so for its own reasons, which may be over.
_MAY_BE_TAKEN = frozenset({Reason.SEAL_REFUSED, Reason.SEAL_FAILED})


def words_for(reason: Reason) -> Words:
    """Return the words for ``reason``; every reason that a document can be given has some.

    Raises:
        KeyError: it is a reason why a file is left in inbound, which no document is given.
    """
    return _SEAL_CHECK if reason in _OF_SEAL_CHECKS else WORDS[reason]


def reason_text(document: Document, sealed_name: str | None) -> str:
    """Return the text of ``<name>.reason.txt``; ``sealed_name`` if the service's answer stands beside it."""
    if document.reason is None:
        raise ValueError(f"document {document.id} has no reason")
    words = words_for(document.reason)
    rejected = document.state is State.REJECTED
    unsealed = rejected or document.reason in _UNSEALED
    english = [
        "ENGLISH",
        *_lines(f"This document was {'not sealed' if unsealed else 'not handed out'}. {words.wrong_en}"),
        *_lines(f"What you can do: {words.advice_en}"),
    ]
    french = [
        "FRANÇAIS",
        *_lines(f"Ce document n'a pas été {'cacheté' if unsealed else 'remis'}. {words.wrong_fr}"),
        *_lines(f"Ce que vous pouvez faire : {words.advice_fr}"),
    ]
    back_en, back_fr = _put_back(document)
    if rejected and document.reason is not Reason.DUPLICATE:
        english += _lines(
            f"Nothing was sent to the sealing service. Once it is corrected, {back_en}: it is tried again."
        )
        french += _lines(
            f"Rien n'a été envoyé au service de cachet. Une fois corrigé, {back_fr} : il sera traité à nouveau."
        )
    elif document.reason in _MAY_BE_TAKEN:
        english += _lines(f"It was not sealed, so you may {back_en}: it is tried again.")
        french += _lines(f"Il n'est pas cacheté : {back_fr} et il sera traité à nouveau.")
    if sealed_name is not None:
        english += _lines(f"What the service returned stands beside this file: {_shown(sealed_name)}")
        french += _lines(f"Ce que le service a rendu se trouve à côté de ce fichier : {_shown(sealed_name)}")
    details = [
        "DETAILS / DÉTAILS",
        *_lines(f"{document.reason}: {document.reason_detail or '-'}"),
        f"Document {document.id}, {document.updated_at:%Y-%m-%d %H:%M:%S} UTC, folder {document.folder}",
        f"SHA-256 {document.sha256}",
    ]
    if not rejected:
        details += _lines(f"To have it tried again / pour une nouvelle tentative : sealdrop retry {document.id}")
    name = _shown(document.name.rpartition("/")[2])
    return "\n".join([name, "", *english, "", *french, "", *details, ""])


def _put_back(document: Document) -> tuple[str, str]:
    """Return how to have a document tried again that nothing was sealed for, in both languages."""
    if document.companions:
        return (
            "put it back into the inbound folder with the files that came with it",
            "replacez-le dans le dossier de dépôt avec les fichiers qui l'accompagnaient",
        )
    return "put it back into the inbound folder", "replacez-le dans le dossier de dépôt"


def notice_text(folder: str, name: str, reason: Reason, detail: str, *, token: str, seen_at: datetime) -> str:
    """Return the text of the ``<name>.reason.txt`` of a file that was left in inbound."""
    words = NOTICE_WORDS[reason]
    english = [
        "ENGLISH",
        *_lines(f"This file was not sealed. {words.wrong_en}"),
        *_lines(f"What you can do: {words.advice_en}"),
        *_lines("It was left where it is, in the inbound folder: nothing was moved, changed or sent."),
        *_lines("This note goes away by itself when the file has been taken or removed."),
    ]
    french = [
        "FRANÇAIS",
        *_lines(f"Ce fichier n'a pas été cacheté. {words.wrong_fr}"),
        *_lines(f"Ce que vous pouvez faire : {words.advice_fr}"),
        *_lines("Il est resté à sa place, dans le dossier de dépôt : rien n'a été déplacé, modifié ni envoyé."),
        *_lines("Cet avis disparaît de lui-même dès que le fichier est pris en charge ou supprimé."),
    ]
    details = [
        "DETAILS / DÉTAILS",
        *_lines(f"{reason}: {detail}"),
        *_lines(f"Folder {folder}, {name}"),
        f"Notice {token}, {seen_at:%Y-%m-%d %H:%M:%S} UTC",
    ]
    return "\n".join([_shown(name.rpartition("/")[2]), "", *english, "", *french, "", *details, ""])


def _lines(text: str) -> list[str]:
    """Return ``text`` in lines that fit a window; long words, like file names, stay whole."""
    return textwrap.wrap(_shown(text), LINE_CHARACTERS, break_long_words=False, break_on_hyphens=False)


def _shown(text: str) -> str:
    """Return ``text`` with what has no shape of its own (line breaks, control characters) made visible."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)

"""The signatures of a PDF: which there are, what their bytes cover, and whether they stand.

Nothing here asks whom to trust (see `evidence`). Where pyHanko makes a judgement it is taken; what is added is what
pyHanko leaves open: it passes over signatures of a kind it does not know, and does not look at what stands behind the
value or behind the last revision.
"""

# mypy: disable-error-code="no-untyped-call, import-untyped"
# pyHanko says that it is typed, and leaves many of its functions without types; asn1crypto has none.

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from asn1crypto import cms, core, parser, tsp, x509
from cryptography.hazmat.primitives import hashes
from pyhanko.pdf_utils import generic
from pyhanko.sign.fields import enumerate_sig_fields
from pyhanko.sign.general import extract_certificate_info, extract_signer_info
from pyhanko.sign.validation.generic_cms import get_hash_spec_for_tst_digest, validate_sig_integrity
from pyhanko.sign.validation.pdf_embedded import EmbeddedPdfSignature
from pyhanko.sign.validation.status import SignatureCoverageLevel

from sealdrop.pdf.certificate import parse
from sealdrop.pdf.differences import AnalysisFailed, changes_since
from sealdrop.pdf.reader import Reader, Unsound, entry

# SHA-256 and better (ETSI TS 119 312, 8.3).
STRONG_DIGESTS = frozenset(
    {"sha256", "sha384", "sha512", "sha512_256", "sha3_256", "sha3_384", "sha3_512", "shake256", "shake256_len"}
)
# PKCS #1 under its bare name: the digest is then the signer's.
_NAMES_NO_DIGEST = "rsassa_pkcs1v15"

TIMESTAMP_SUBFILTER = "/ETSI.RFC3161"

# After a cross-reference stream's dictionary or a table's trailer: the last lines of a PDF (ISO 32000-2, 7.5.5).
_END_OF_FILE = re.compile(rb"startxref\s+\d+\s+%%EOF[\r\n]{0,2}")
_TAIL_BYTES = 64

# Which one belongs to which content is for the writer to know (RFC 5652, 5.1 and 5.3); many write always the same.
_SIGNER_VERSIONS = frozenset({"v1", "v3"})
_VERSIONS = _SIGNER_VERSIONS | {"v4", "v5"}

# A digest algorithm's parameters are absent, or NULL (RFC 5754, 2).
_NO_PARAMETERS = (b"", b"\x05\x00")


@dataclass(frozen=True, slots=True, eq=False)
class SignatureField:
    """A filled signature field; ``contents`` is the signature's value with its padding."""

    name: str
    contents: bytes
    byte_range: tuple[int, ...]
    is_document_timestamp: bool
    field: generic.DictionaryObject

    @property
    def key(self) -> tuple[str, bytes, tuple[int, ...]]:
        """What makes it the same signature in an earlier state of the file."""
        return self.name, self.contents, self.byte_range


@dataclass(frozen=True, slots=True, eq=False)
class Signer:
    """The certificate of a signature, and those that came with it."""

    certificate: x509.Certificate
    others: tuple[x509.Certificate, ...]


def find_signatures(reader: Reader) -> tuple[SignatureField, ...]:
    """Return every filled signature field, of whatever kind, in the order of the form."""
    found = []
    for number, (name, raw_value, field) in enumerate(enumerate_sig_fields(reader, filled_status=True), 1):
        value = raw_value.get_object()
        if not isinstance(value, generic.DictionaryObject):
            raise Unsound(f"signature field {number} is filled with something that is not a signature")
        contents = value.raw_get("/Contents", decrypt=generic.EncryptedObjAccess.RAW)
        subfilter, kind = str(entry(value, "/SubFilter")), str(entry(value, "/Type"))
        found.append(
            SignatureField(
                name=str(name),
                contents=contents.original_bytes,
                byte_range=tuple(int(number) for number in entry(value, "/ByteRange", ())),
                is_document_timestamp=kind == "/DocTimeStamp" and subfilter == TIMESTAMP_SUBFILTER,
                field=field.get_object(),
            )
        )
    return tuple(found)


def new_signatures(
    before: tuple[SignatureField, ...], after: tuple[SignatureField, ...]
) -> tuple[tuple[SignatureField, ...], int]:
    """Return the signatures of ``after`` that ``before`` has not, and how many of ``before`` are gone."""
    known = Counter(signature.key for signature in before)
    new = tuple(signature for signature in after if signature.key not in known)
    gone = known - Counter(signature.key for signature in after)
    return new, gone.total()


def load(reader: Reader, signature: SignatureField) -> EmbeddedPdfSignature:
    """Return the signature as pyHanko reads it; whatever pyHanko raises means that it cannot be read."""
    return EmbeddedPdfSignature(reader, signature.field, signature.name)


def check_coverage(reader: Reader, signature: SignatureField) -> int:
    """Return where the signed revision ends, if nothing before that is left out but the signature's own value.

    The value's digits are the only bytes of the revision that nobody signs. They may be small letters or capitals, as
    each writer likes; they are the value, padded with zeros, and nothing else.

    Raises:
        Unsound: the byte range is not of that form, or there is something behind the value.
    """
    if len(signature.byte_range) != 4:
        raise Unsound("the byte range has not four numbers")
    start, before, resumes, rest = signature.byte_range
    end = resumes + rest
    if start != 0 or before <= 0 or rest <= 0 or end > reader.size_bytes:
        raise Unsound(f"the byte range {list(signature.byte_range)} does not lie in the file")
    expected = b"<%s>" % signature.contents.hex().encode("ascii")
    gap = reader.read_at(before, len(expected))
    if resumes != before + len(gap) or gap.lower() != expected:
        raise Unsound("the gap in the byte range is not the signature's value and nothing else")
    if any(signature.contents[parser.peek(signature.contents) :]):
        raise Unsound("something stands in the padding behind the signature's value")
    return end


def check_revision(reader: Reader, signature: EmbeddedPdfSignature) -> None:
    """Pass if pyHanko finds that the signature covers the whole of the revision that it closes.

    Raises:
        Unsound: it does not.
    """
    coverage = signature.evaluate_signature_coverage()
    if coverage < SignatureCoverageLevel.ENTIRE_REVISION:
        raise Unsound(f"the signature does not cover the whole revision ({coverage.name})")
    # To the end of the file is enough for pyHanko, however many revisions that takes in.
    last = reader.xrefs.total_revisions - 1
    if coverage == SignatureCoverageLevel.ENTIRE_FILE and signature.signed_revision != last:
        raise Unsound("the signature covers more than the revision that it closes")


def check_end(reader: Reader) -> None:
    """Pass if nothing follows the last revision but an end of line.

    Raises:
        Unsound: something does.
    """
    tail = reader.read_at(max(reader.size_bytes - _TAIL_BYTES, 0), _TAIL_BYTES)
    if _END_OF_FILE.fullmatch(tail, max(tail.rfind(b"startxref"), 0)) is None:
        raise Unsound("something follows the last revision")


def signer_of(signed_data: cms.SignedData) -> Signer:
    """Return whose signature it says it is, until `check_integrity` shows that it is.

    Whatever pyHanko raises means that this cannot be read.
    """
    found = extract_certificate_info(signed_data)
    return Signer(parse(found.signer_cert.dump()), tuple(parse(other.dump()) for other in found.other_certs))


def token_info(signed_data: cms.SignedData) -> tsp.TSTInfo:
    """Return what a timestamp token says.

    Raises:
        Unsound: it is none.
    """
    content = signed_data["encap_content_info"]
    if content["content_type"].native == "tst_info":
        info = content["content"].parsed
        if isinstance(info, tsp.TSTInfo):
            return info
    raise Unsound("it is no timestamp")


def check_integrity(signed_data: cms.SignedData, signer: Signer, digest: Callable[[str], bytes]) -> None:
    """Pass if the signed bytes are those that were signed, and the signature is the certificate's.

    That certificate is the one that the signature binds, if it binds one (RFC 5035). ``digest`` returns the digest of
    those bytes by the algorithm that it is given. For a timestamp the same is asked of the token, and of its imprint of
    the bytes.

    Raises:
        Unsound: they are not.
    """
    content, signature = signed_data["encap_content_info"], extract_signer_info(signed_data)
    algorithm = signature["digest_algorithm"]["algorithm"].native
    if content["content_type"].native == "tst_info":
        imprint = token_info(signed_data)["message_imprint"]
        if imprint["hashed_message"].native != digest(imprint["hash_algorithm"]["algorithm"].native):
            raise Unsound("the timestamp is not of these bytes")
        found = _hash(algorithm, bytes(content["content"]))
    else:
        found = digest(algorithm)
    intact, valid = validate_sig_integrity(signature, signer.certificate, content["content_type"].native, found)
    if not intact:
        raise Unsound("the signed bytes were changed")
    if not valid:
        raise Unsound("the signature is not the certificate's")


def check_structure(contents: bytes, signature: EmbeddedPdfSignature) -> None:
    """Pass if the parts of a signature that nothing protects are in the order that they must be (RFC 5652, 3 and 5).

    Writers differ in what they may: DER or BER, lengths known or not, one of four versions, parameters of a digest
    NULL or absent. None of that can make the signature one of other bytes, by another key or at another time: the
    digest, the attributes and the certificate are signed. The certificate is found by its issuer's name, in whatever
    letter case (RFC 5280, 7.1), and its serial number.

    Raises:
        Unsound: one says something that no writer says.
    """
    signed_data, signer = signature.signed_data, signature.signer_info
    _, _, _, _, inside, _ = parser.parse(contents[: parser.peek(contents)])
    if parser.peek(inside) + parser.peek(inside[parser.peek(inside) :]) != len(inside):
        raise Unsound("the signature's container holds something beside the signature")
    algorithms = [signer["digest_algorithm"], *signed_data["digest_algorithms"]]
    if signer["digest_algorithm"]["algorithm"].native not in {name["algorithm"].native for name in algorithms[1:]}:
        raise Unsound("the signature's container does not name the signer's digest algorithm")
    if any(algorithm["parameters"].dump() not in _NO_PARAMETERS for algorithm in algorithms):
        raise Unsound("a digest algorithm has parameters")
    certificates = [choice.chosen for choice in signed_data["certificates"] if choice.name == "certificate"]
    if any(certificate["signature_value"].contents[:1] != b"\0" for certificate in certificates):
        raise Unsound("the signature of a certificate is not of whole bytes")
    if signer["version"].native not in _SIGNER_VERSIONS or signed_data["version"].native not in _VERSIONS:
        raise Unsound("the signature's container has a version that there is not")
    if not len(signer["signed_attrs"]):
        raise Unsound("the signature has no signed attributes")
    if not isinstance(signed_data["encap_content_info"]["content"], core.Void):
        raise Unsound("the signature's container holds a content of its own")


def weak_digests(signed_data: cms.SignedData) -> set[str]:
    """Return the digest algorithms in a signature or a timestamp token that are weaker than SHA-256."""
    (signer,) = signed_data["signer_infos"]
    names = {signer["digest_algorithm"]["algorithm"].native}
    algorithm = signer["signature_algorithm"]
    if algorithm["algorithm"].native != _NAMES_NO_DIGEST:
        names.add(algorithm.hash_algo)
    content = signed_data["encap_content_info"]
    if content["content_type"].native == "tst_info":
        names.add(content["content"].parsed["message_imprint"]["hash_algorithm"]["algorithm"].native)
    return {str(name) for name in names} - STRONG_DIGESTS


def check_standing(
    reader: Reader, signature: SignatureField, otherwise: Callable[[EmbeddedPdfSignature], None] | None = None
) -> None:
    """Pass if the signature is clean: intact, covering its revision, and nothing later than it allows.

    ``otherwise`` judges what came later where pyHanko's analysis fails.

    Raises:
        Unsound: it is not. pyHanko may raise anything else, which means the same.
    """
    embedded = load(reader, signature)
    check_integrity(embedded.signed_data, signer_of(embedded.signed_data), embedded.compute_digest)
    check_revision(reader, embedded)
    try:
        changes_since(reader, embedded)
    except AnalysisFailed:
        if otherwise is None:
            raise
        otherwise(embedded)
        return
    if not embedded.summarise_integrity_info()["docmdp_ok"]:
        raise Unsound("later revisions change what it does not allow to be changed")


def _hash(algorithm: str, content: bytes) -> bytes:
    digest = hashes.Hash(get_hash_spec_for_tst_digest(algorithm))
    digest.update(content)
    return digest.finalize()

"""A timestamp authority (RFC 3161) in the same process: pyHanko asks it as it would ask a remote one.

Tokens are signed with SHA-256 over RSA, name the authority's certificate by its SHA-256 (RFC 5816), echo the nonce,
and embed the certificate. There is no network between asking and answering, so nothing can fail for its sake.
"""

import secrets
from datetime import UTC, datetime

from asn1crypto import algos, cms, core, tsp, x509  # type: ignore[import-untyped]
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from pyhanko.sign.general import as_signing_certificate_v2, simple_cms_attribute
from pyhanko.sign.timestamps import TimeStamper

from sealdrop.sandbox.certificates import Identity

POLICY = "1.3.6.1.4.1.99999.1.1"  # made up, as is the authority
_SHA256 = algos.DigestAlgorithm({"algorithm": "sha256"})


class TimestampAuthority(TimeStamper):
    """Answers every well-formed request with a token for the present second."""

    def __init__(self, identity: Identity) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        if not isinstance(identity.key, RSAPrivateKey):
            raise TypeError("a timestamp authority's key must be RSA here")
        self._key = identity.key
        self._certificate = x509.Certificate.load(identity.der)

    async def async_request_tsa_response(self, req: tsp.TimeStampReq) -> tsp.TimeStampResp:
        """Return the answer to ``req``: always granted."""
        moment = datetime.now(UTC).replace(microsecond=0)
        info = {
            "version": "v1",
            "policy": tsp.ObjectIdentifier(POLICY),
            "message_imprint": req["message_imprint"],
            "serial_number": secrets.randbits(63) | 1 << 62,
            "gen_time": core.GeneralizedTime(moment),
            "accuracy": {"seconds": 1},
            "tsa": x509.GeneralName(name="directory_name", value=self._certificate.subject),
        }
        if req["nonce"].native is not None:
            info["nonce"] = req["nonce"]
        token = cms.ContentInfo(
            {"content_type": "signed_data", "content": self._signed(tsp.TSTInfo(info).dump(), moment)}
        )
        return tsp.TimeStampResp({"status": tsp.PKIStatusInfo({"status": "granted"}), "time_stamp_token": token})

    def _signed(self, content: bytes, moment: datetime) -> cms.SignedData:
        digest = hashes.Hash(hashes.SHA256())
        digest.update(content)
        attributes = cms.CMSAttributes(
            [
                _attribute("content_type", "tst_info"),
                _attribute("signing_time", cms.Time({"utc_time": core.UTCTime(moment)})),
                _attribute("signing_certificate_v2", as_signing_certificate_v2(self._certificate)),
                _attribute("message_digest", digest.finalize()),
            ]
        )
        sid = cms.IssuerAndSerialNumber(
            {"issuer": self._certificate.issuer, "serial_number": self._certificate.serial_number}
        )
        signer = cms.SignerInfo(
            {
                "version": "v1",
                "sid": cms.SignerIdentifier({"issuer_and_serial_number": sid}),
                "digest_algorithm": _SHA256,
                "signature_algorithm": algos.SignedDigestAlgorithm({"algorithm": "rsassa_pkcs1v15"}),
                "signed_attrs": attributes,
                "signature": self._key.sign(attributes.dump(), PKCS1v15(), hashes.SHA256()),
            }
        )
        return cms.SignedData(
            {
                "version": "v3",
                "digest_algorithms": cms.DigestAlgorithms((_SHA256,)),
                "encap_content_info": {
                    "content_type": "tst_info",
                    "content": cms.ParsableOctetString(content),
                },
                "certificates": [self._certificate],
                "signer_infos": [signer],
            }
        )


def _attribute(name: str, value: object) -> cms.CMSAttribute:
    return simple_cms_attribute(name, value)  # type: ignore[no-untyped-call]

"""What a sealed PDF is held against: its receipt, and what the person who asks knows."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from sealdrop.config import Account, Config
from sealdrop.durable import hash_file
from sealdrop.errors import ConfigurationError
from sealdrop.model import CheckName, CheckOutcome, Verification
from sealdrop.pdf.jobs import Expectation, Looks
from sealdrop.receipt import Outcome, Receipt


@dataclass(frozen=True, slots=True)
class Against:
    """Trust anchors and an organisation, given as such or by the accounts of a configuration."""

    trust: tuple[Path, ...]
    organisation: str | None
    config: Config | None

    def anchors(self) -> tuple[Path, ...]:
        """Return every trust anchor that a PDF may be held against."""
        accounts = self.config.accounts.values() if self.config is not None else ()
        return self.trust or tuple(sorted({path for account in accounts for path in account.trust_anchors}))

    def expectation(self, receipt: Receipt | None, *, lenient: bool = False) -> Expectation:
        """Return what a PDF with that receipt must be.

        Raises:
            ConfigurationError: the configuration has several accounts, and nothing says which one it is. Where that is
                ``lenient``, the anchors of any of them will do.
        """
        try:
            account = self._account(receipt)
        except ConfigurationError:
            if not lenient:
                raise
            account = None
        expected = Expectation(
            now=datetime.now(UTC),
            trust_anchors=account.trust_anchors if account and not self.trust else self.anchors(),
            organisation=self.organisation or (account.organisation if account else None),
        )
        if receipt is None:
            return expected
        return replace(
            expected,
            original_size_bytes=receipt.original.size_bytes,
            original_sha256=receipt.original.sha256,
            level=receipt.seal.level_asked,
            not_before=receipt.duplicate_of.received_at if receipt.duplicate_of else receipt.received_at,
            not_after=receipt.verified_at,
            archive_ids=receipt.remote.archive_ids,
            archive_asked=receipt.outcome is Outcome.SEALED_AND_ARCHIVED,
            looks=_looks(receipt),
        )

    def _account(self, receipt: Receipt | None) -> Account | None:
        if self.config is None:
            return None
        accounts = self.config.accounts
        if receipt is not None and receipt.account in accounts:
            return accounts[receipt.account]
        if len(accounts) == 1:
            return next(iter(accounts.values()))
        problem = f"there are several accounts ({', '.join(sorted(accounts))}) and no receipt that names one"
        raise ConfigurationError(str(self.config.source), [problem])


def _looks(receipt: Receipt) -> Looks | None:
    """Return where the seal should be seen; None if the receipt does not say, as none did before version 3."""
    outcomes = [check.outcome for check in receipt.verification.checks if check.name is CheckName.APPEARANCE]
    is_known = any(outcome is not CheckOutcome.NOT_ASKED for outcome in outcomes)
    return Looks(receipt.seal.place) if is_known else None


def disagreements(file: Path, receipt: Receipt, report: Verification) -> list[str]:
    """Return what the receipt says and the file does not."""
    found = []
    size_bytes, sha256 = hash_file(file)
    if sha256 != receipt.sealed.sha256 or size_bytes != receipt.sealed.size_bytes:
        found.append(f"the file is not the one the receipt is for: its SHA-256 is {sha256}")
    if report.certificate is not None and report.certificate.sha256 != receipt.seal.certificate.sha256:
        found.append(f"the receipt names another seal certificate, {receipt.seal.certificate.subject}")
    return found

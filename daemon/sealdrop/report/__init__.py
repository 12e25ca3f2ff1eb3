"""Reports about a period, for auditors: pages to read, made from the audit trail and the ledger."""

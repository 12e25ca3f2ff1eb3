"""A small configuration of which nothing is there."""

CONFIG = """
[service]
state_dir = "state"
[accounts.main]
base_url = "https://signapi.example"
certificate = "client.p12"
organisation = "Example SAS"
trust_anchors = ["root.pem"]
[folders.invoices]
account = "main"
inbound = "in"
outbound = "out"
rejected = "rejected"
failed = "failed"
"""

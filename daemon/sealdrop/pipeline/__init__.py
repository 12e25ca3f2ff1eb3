"""One module for each verb, in the order in which a document meets them.

watch, intake, validate, submit, poll, verify, deliver. A stage takes a frozen value and returns an outcome; it knows
neither its neighbours nor the ledger nor the audit trail. What goes wrong is raised, and the error's class says what
to do about it (errors.py).
"""

"""What can go wrong in the sandbox; the library underneath never shows."""


class SandboxError(Exception):
    """The sandbox cannot start or go on; the message says why and is meant for the person who started it."""


class BadRequest(Exception):
    """The call does not say what it should; nothing was applied."""


class UnknownRequest(Exception):
    """There is no signature request with that identifier."""


class Unsealable(Exception):
    """This document cannot be sealed; the message becomes the request's ``reason``."""

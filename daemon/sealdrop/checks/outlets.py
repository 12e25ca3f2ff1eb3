"""Where figures go out (`[metrics]`): a port that is free or ours, a folder that can be written to."""

import socket
from collections.abc import Iterator

from sealdrop.checks.findings import Condition, Finding
from sealdrop.checks.folders import judge_access
from sealdrop.checks.looking import Facts
from sealdrop.checks.state import running_on
from sealdrop.config import Config, host_and_port

ANSWER_S = 2.0
_SUBJECT = "metrics"


def judge_metrics(config: Config, folder: Facts | None, user: str) -> Iterator[Finding]:
    """Yield whether the figures can be had; ``folder`` is the text file's, None if it hangs or none is wanted."""
    listen, textfile = config.metrics.listen, config.metrics.textfile
    if listen is not None:
        yield _port(listen, is_running=running_on(config.service.state_dir) is not None)
    if textfile is not None:
        fault = judge_access(_SUBJECT, "textfile", folder, user, may_create=False)
        if fault is None:
            yield Finding(_SUBJECT, "textfile", str(textfile))
        else:
            yield Finding.of(Condition.METRICS_NOT_OUT, _SUBJECT, "textfile", fault.text)


def _port(listen: str, *, is_running: bool) -> Finding:
    """Look at the port: with a service that runs somebody has to answer, without one it has to be free."""
    host, port = host_and_port(listen)
    try:
        if is_running:
            with socket.create_connection((host, port), ANSWER_S):
                return Finding(_SUBJECT, "listen", f"{listen} answers")
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
    except OSError as error:
        how = "nobody answers at" if is_running else "the service could not listen on"
        return Finding.of(
            Condition.METRICS_NOT_OUT, _SUBJECT, "listen", f"{how} {listen}: {error.strerror or type(error).__name__}"
        )
    return Finding(_SUBJECT, "listen", f"{listen} is free")

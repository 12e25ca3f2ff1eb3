"""One request out, one answer in: HTTP/1.1 over mutual TLS, within a deadline, every failure one of our errors.

Nothing is sent a second time by itself: not after a redirect, and not when a kept connection turns out to be dead,
which for a changing call is an unknown outcome like any other. Nothing is taken from the environment: no proxy, no
password file.
"""

import re
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode

import httpcore
import httpx
from pydantic import JsonValue

from sealdrop import __version__
from sealdrop.clock import Clock
from sealdrop.config import Account
from sealdrop.errors import ConfigurationError, MalformedAnswer, SealdropError
from sealdrop.signapi import policy, tls, wire
from sealdrop.signapi.arrival import Arrival
from sealdrop.signapi.deadline import DeadlineBackend, Progress, call_within
from sealdrop.signapi.strict_json import parse_json

KEEP_ALIVE_S = 15.0  # well below the idle limits of common servers and load balancers: 60 s and more
REST_LIMIT_BYTES = 16 << 20  # of an answer beside its content: some ten thousand statuses in a list
_SUCCESS = frozenset(range(200, 300))
_QUOTED_BYTES = re.compile(r"""(?:bytearray\()?b['"].*""", re.DOTALL)  # how h11 quotes a line that is none of HTTP's


@dataclass(frozen=True, slots=True)
class Body:
    """What a request carries: JSON, in pieces, and its length."""

    pieces: Iterable[bytes]
    size_bytes: int


NO_BODY = Body((), 0)


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer.

    ``value`` is its JSON, in which an empty text stands for content; None where an error's body holds none of the
    service's own. ``content_bytes`` is how much content was handed on, and ``content_fault`` what is wrong with it.
    ``dated`` is what the service's clock said, to the second; None if the answer does not tell.
    """

    http_status: int
    value: JsonValue
    content_bytes: int
    content_fault: str | None
    error: wire.ServiceError | None
    fault: SealdropError | None
    dated: datetime | None = None


class Transport:
    """The connections of one account. Many threads may share it."""

    def __init__(self, account: Account, *, answer_limit_bytes: int, clock: Clock) -> None:
        """Make ready to connect; nothing is sent yet.

        Raises:
            ConfigurationError: the account's address, certificate, key or authorities cannot be used.
        """
        self._base_url = account.base_url
        self._call_timeout_s = account.call_timeout_s
        self._answer_limit_bytes = answer_limit_bytes
        self._clock = clock
        self.server_valid_until: datetime | None = None
        try:
            self.host = httpx.URL(account.base_url).host
        except httpx.InvalidURL as error:
            raise ConfigurationError(f"account at {account.base_url}", [f"base_url: {error}"]) from error
        self._client = httpx.Client(
            transport=BoundedTransport(tls.client_context(account, now=clock.now()), account.connections),
            timeout=httpx.Timeout(
                connect=account.connect_timeout_s,
                read=account.read_timeout_s,
                write=account.read_timeout_s,
                pool=account.call_timeout_s,
            ),
            follow_redirects=False,
            trust_env=False,
            headers={
                "User-Agent": f"sealdrop/{__version__}",
                "Accept": "application/json",
                "Accept-Encoding": "identity",  # compression would let a small answer fill the memory
            },
        )

    def close(self) -> None:
        """Close all connections; no call may be under way or follow."""
        self._client.close()

    def exchange(
        self,
        call: policy.Call,
        method: str,
        path: str,
        parameters: Mapping[str, str],
        body: Body = NO_BODY,
        *,
        content_to: Callable[[bytes], None] | None = None,
    ) -> Answer:
        """Make one call and return its answer, whatever it says; ``fault`` is what the policy makes of that.

        The content of an answer goes to ``content_to`` as it arrives, before anything is known of the answer.

        Raises:
            Retryable, AccountRefused, OutcomeUnknown: there is no answer; see `policy`.
            MalformedAnswer: the answer is too long, or one of success that holds no JSON.
        """
        query = urlencode({name: value for name, value in parameters.items() if value})
        request = self._client.build_request(
            method,
            f"{self._base_url}{path}?{query}" if query else self._base_url + path,  # parsed once, neither has a query
            headers=_body_headers(method, body),
            content=body.pieces if body.size_bytes else None,
        )
        with call_within(self._call_timeout_s, self._clock) as progress:
            try:
                response = self._client.send(request, stream=True)
                self._note_server(progress)
                try:
                    arrival = self._read(call, response, content_to)
                finally:
                    response.close()
            except (httpx.HTTPError, OSError) as error:  # OSError: a document could not be read while it was sent
                raise _broken_off(call, progress, error) from error
        return self._judge(call, response, arrival)

    def _note_server(self, progress: Progress) -> None:
        """Take note of how long the certificate is valid that the service showed, if it was a new connection."""
        if progress.shown is not None:
            self.server_valid_until = datetime.fromtimestamp(ssl.cert_time_to_seconds(progress.shown["notAfter"]), UTC)

    def _read(self, call: policy.Call, response: httpx.Response, content_to: Callable[[bytes], None] | None) -> Arrival:
        arrival = Arrival(content_to)
        came_bytes = 0
        for piece in response.iter_raw():
            came_bytes += len(piece)
            if came_bytes > self._answer_limit_bytes:
                raise MalformedAnswer(f"{call}: the answer is longer than {self._answer_limit_bytes} bytes")
            arrival.take(piece)
            if len(arrival.rest) > REST_LIMIT_BYTES:
                raise MalformedAnswer(f"{call}: the answer has more than {REST_LIMIT_BYTES} bytes beside its content")
        return arrival

    def _judge(self, call: policy.Call, response: httpx.Response, arrival: Arrival) -> Answer:
        content, http_status = arrival.end(), response.status_code
        if policy.is_certificate_page(http_status, content):
            raise policy.certificate_refused(call, f"HTTP {http_status} from a proxy, about the client certificate")
        try:
            encoding = response.headers.get("Content-Encoding", "identity")
            if encoding.lower() != "identity":
                raise MalformedAnswer(f"the answer is encoded as {wire.clean(encoding)!r}, which was not offered")
            value = parse_json(content)
            error = wire.service_error(value)
        except MalformedAnswer as fault:
            if http_status in _SUCCESS:
                raise MalformedAnswer(f"{call}: HTTP {http_status}: {fault}") from fault
            value, error = None, None  # an error page, by a proxy or a container: its status says it all
        wish_s = policy.retry_after_s(response.headers.get("Retry-After"), self._clock.now())
        judged = policy.answered(call, http_status, error, retry_after_s=wish_s)
        dated = policy.http_date(response.headers.get("Date"))
        return Answer(http_status, value, arrival.size_bytes, arrival.fault, error, judged, dated)


class BoundedTransport(httpx.HTTPTransport):
    """httpx's transport over connections that keep to a deadline."""

    def __init__(self, context: ssl.SSLContext, connections: int) -> None:
        # httpx has no way to hand httpcore a network backend. Its transport is nothing but this pool and the
        # translation of errors, so the pool is put in its place and the translation kept.
        self._pool = httpcore.ConnectionPool(
            ssl_context=context,
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=KEEP_ALIVE_S,
            http1=True,
            http2=False,
            retries=0,
            network_backend=DeadlineBackend(),
        )


def _body_headers(method: str, body: Body) -> dict[str, str]:
    if method == "GET":
        return {}
    length = {"Content-Length": str(body.size_bytes)}
    return {**length, "Content-Type": "application/json"} if body.size_bytes else length


def _broken_off(call: policy.Call, progress: Progress, error: Exception) -> SealdropError:
    refusal = tls.lasting_refusal(progress.failures)
    if refusal is not None and progress.connected and not progress.answered:
        return policy.certificate_refused(call, refusal)
    what = progress.words() if progress.is_over() else f"{type(error).__name__}: {_less_quotes(error)}"
    return policy.broken_off(call, what, began_sending=progress.began_sending)


def _less_quotes(error: Exception) -> str:
    """Return an error's text without the bytes of a garbled answer, which may be any part of a document."""
    return wire.clean(_QUOTED_BYTES.sub("[...]", str(error)))

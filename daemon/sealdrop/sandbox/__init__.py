"""A SignAPI of one's own: it really seals, over mutual TLS, and keeps its own record of every seal and deposit.

It is for trying, testing and demonstrating; its seals are worth nothing outside, since its authority is made up on
the spot. It follows the same description of the service as the client (signapi.md) and shares no code with it, so
that neither can hide the other's mistakes. What is read into that description beyond its words is said in `app`.

The way of a request: `app` (HTTP) takes a call, `faults` may spoil it, `service` applies it and carries requests
forward in the background, `sealing` makes the PAdES signature with the keys of `pki`, `store` remembers, `record`
writes the two files of truth. `server` puts it all on a socket.
"""

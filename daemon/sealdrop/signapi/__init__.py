"""SignAPI, the remote service that seals: the only home of httpx, httpcore and ssl in the daemon (signapi.md).

`client` makes the calls; `wire` is the meaning of what is sent and answered; `policy` decides what each failure asks
for; `content` moves documents between the spool and a message; `tls` says who we are and whom we trust; `deadline`
ends each call in time.
"""

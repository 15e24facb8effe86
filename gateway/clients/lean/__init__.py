"""The lean transport: small HTTP/1.1 exchanges with nodes at the least cost.

It knows what the gateway needs and nothing else: no redirects, cookies, proxies or content codings,
one exchange at a time on a connection, and the whole answer in memory. What is ambiguous is refused
and its connection closed, so that no answer can ever be taken for that of another request.
"""

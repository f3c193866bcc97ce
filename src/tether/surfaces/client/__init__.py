"""What ``tether status``, ``tail``, ``reconnect``, ``pause`` and ``resume`` do: ask a running ``tether run`` over HTTP.

::

    target    where the API is, and with which token
    ask       one request, and what its failure means
    table     connections, for a terminal or a pipe
    feed      the live feed as a connection that tether keeps alive itself
    follow    prints the feed
"""

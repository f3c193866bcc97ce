"""``tether demo``: a real server is broken on purpose, and you watch the connection come back.

Who does what, from the bottom up; nothing above the line prints, nothing below it decides::

    model     what is shown and what was measured, as frozen data
    ledger    the fate of every message                         (pure)
    outage    what one fault did to the connection              (pure)
    words     events in words                                   (pure)
    board     gathers all of it, and answers with a snapshot    (pure)
    traffic   a publisher and a subscriber on the connection
    tour      breaks the server and mends it, fault by fault
    stage     starts the server, the connection and the traffic, and ends them
    ---------------------------------------------------------------------------
    view      a snapshot, for a terminal                        (pure)
    plain     the same as lines, for everything else            (pure)
    report    the closing table, and what it means              (pure)
    show      writes one or the other to stdout, in a thread
    play      signals, and the exit code
    picture   the view as an SVG file, for the README
"""

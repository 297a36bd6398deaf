"""GDB's remote serial protocol, on top of the debug session.

Four layers: bytes (:mod:`framing`), packets (:mod:`packets`, :mod:`arguments`), handlers
(:mod:`execution`, :mod:`inspection`, :mod:`points`, :mod:`queries`), and what the target looks like
(:mod:`target_xml`, :mod:`memory_map`). :mod:`server` and :mod:`connection` carry them over sockets.
"""

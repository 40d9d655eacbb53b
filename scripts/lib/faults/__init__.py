"""Faults on the running server: one module each, with what they share beside them.

A fault has a `TITLE`, the `SERVER` it wants (flags; descriptors; network; victim for the server that
misbehaves on demand), and `inflict(server, quick)`, which returns figures or raises `Failure`.
"""

from . import buffers, descriptors, killed, loss, resets, stalled

FAULTS = {
    "descriptors": descriptors,
    "buffers": buffers,
    "resets": resets,
    "killed": killed,
    "stalled": stalled,
    "loss": loss,
}

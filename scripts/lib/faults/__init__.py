"""Faults on the running server: one module each, with what they share beside them.

A fault has a `TITLE`, the `SERVER` it wants (flags, descriptors, network), and `inflict(server, quick)`,
which returns figures or raises `Failure`.
"""

from . import buffers, descriptors, killed, loss, resets

FAULTS = {
    "descriptors": descriptors,
    "buffers": buffers,
    "resets": resets,
    "killed": killed,
    "loss": loss,
}

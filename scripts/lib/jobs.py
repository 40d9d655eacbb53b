"""Pieces of work, several at a time."""

import multiprocessing
import os


def default():
    """One for each processor that this may use."""
    return len(os.sched_getaffinity(0))


def each(work, items, jobs):
    """Yields what `work` returns for each item, in their order; so many jobs run at a time.

    Each is a process, and is told to end (SIGTERM) when the caller goes no further: `common.unwind_on_sigterm` makes it
    take along what it has started.
    """
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        yield from pool.imap(work, items)

"""Pieces of work, several at a time."""

import collections
import contextlib
import multiprocessing
import multiprocessing.connection
import os

from .common import Failure

# From the request to end until the end is made: what a piece of work has started is given some time, too.
END_LIMIT_S = 30

# Children begin with all that the caller has.
FORK = multiprocessing.get_context("fork")


def default():
    """One for each processor that this may use."""
    return len(os.sched_getaffinity(0))


def each(work, items, jobs):
    """Yields what `work` returns for each item, in their order; so many jobs run at a time.

    Each is a process, and is told to end (SIGTERM) when the caller goes no further: `common.unwind_on_sigterm` makes it
    take along what it has started. What `work` raises is raised here.
    """
    waiting = collections.deque(enumerate(items))
    results = {}
    next_one = 0
    with contextlib.ExitStack() as stack:
        running = {}
        stack.callback(_end, running)
        while waiting or running:
            while waiting and len(running) < jobs:
                index, item = waiting.popleft()
                _start(running, index, work, item)
            for connection in multiprocessing.connection.wait(list(running)):
                index, process = running[connection]
                results[index] = _result(connection, process)
                del running[connection]
            while next_one in results:
                yield results.pop(next_one)
                next_one += 1


def _start(running, index, work, item):
    receiver, sender = FORK.Pipe(duplex=False)
    process = FORK.Process(target=_work, args=(sender, work, item))
    process.start()
    # The child's is the only one, so that its end is seen.
    sender.close()
    running[receiver] = (index, process)


def _work(sender, work, item):
    """In the child."""
    try:
        answer = (work(item), None)
    except Exception as error:
        answer = (None, error)
    sender.send(answer)


def _result(connection, process):
    try:
        value, error = connection.recv()
    except EOFError:
        process.join()
        raise Failure(f"a process ended with {process.exitcode} before its work was done") from None
    process.join()
    connection.close()
    if error:
        raise error
    return value


def _end(running):
    processes = [process for _, process in running.values()]
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(END_LIMIT_S)
        process.kill()
        process.join()

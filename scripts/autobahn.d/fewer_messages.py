"""Runs wstest with fewer messages in each case of sections 12 and 13 than the suite has. For its Python 2.7.

    fewer_messages.py COUNT WSTEST-ARGUMENT...
"""

import sys

from autobahntestsuite import case, wstest

# What the pinned suite has. Anything else is a suite that this does not know.
SUITE_CASES = 216
SUITE_COUNT = 1000


def main():
    count = int(sys.argv.pop(1))
    cases = [it for it in case.Cases if it.__name__.startswith(("Case12_", "Case13_"))]
    if len(cases) != SUITE_CASES:
        sys.exit("sections 12 and 13 have %d cases, not %d" % (len(cases), SUITE_CASES))
    for it in cases:
        if it.COUNT != SUITE_COUNT:
            sys.exit("%s sends %s messages, not %d" % (it.__name__, it.COUNT, SUITE_COUNT))
        it.COUNT = count
        it.DESCRIPTION = it.DESCRIPTION.replace("Send %d " % SUITE_COUNT, "Send %d " % count)
    wstest.run()


if __name__ == "__main__":
    main()

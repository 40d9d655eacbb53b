"""Run with `python3 -m unittest discover -s scripts/lib -t scripts`."""

import unittest

from .agreements import checks
from .recorder import Conversation

PLAIN = "permessage-deflate"
NAMED = "permessage-deflate; client_max_window_bits"
FORGETFUL = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"


def conversation(offer, answer, compressed=1):
    made = Conversation()
    made.is_websocket = True
    made.offers = [offer] if offer else []
    made.answers = [answer] if answer else []
    made.to_client.compressed = made.to_server.compressed = compressed
    return made


def failed(way, *conversations):
    return [name for verdict, name, _ in checks(way, conversations) if verdict == "FAIL"]


class Agreements(unittest.TestCase):
    def test_that_fit_pass(self):
        for way, offer, answer in [
            ("shared", PLAIN, FORGETFUL),
            ("shared", f"{NAMED}; server_max_window_bits=12", f"{FORGETFUL}; server_max_window_bits=9"),
            ("dedicated", NAMED, PLAIN),
            ("dedicated", FORGETFUL, FORGETFUL),
            ("dedicated:9", NAMED, f"{PLAIN}; server_max_window_bits=9; client_max_window_bits=9"),
            ("dedicated:9", PLAIN, f"{PLAIN}; client_no_context_takeover; server_max_window_bits=9"),
        ]:
            with self.subTest(f"{way}: {offer}"):
                self.assertEqual(failed(way, conversation(offer, answer)), [])
        self.assertEqual(failed("off", conversation(NAMED, None, compressed=0)), [])

    def test_that_do_not_fit_are_found(self):
        for way, offer, answer in [
            ("shared", PLAIN, None),
            ("shared", None, FORGETFUL),
            ("shared", PLAIN, PLAIN),
            ("shared", PLAIN, f"{PLAIN}; server_no_context_takeover"),
            ("shared", PLAIN, f"{FORGETFUL}, {FORGETFUL}"),
            ("shared", PLAIN, "x-webkit-deflate-frame"),
            ("dedicated", f"{PLAIN}; server_max_window_bits=10", PLAIN),
            ("dedicated", NAMED, f"{PLAIN}; server_no_context_takeover"),
            ("dedicated", FORGETFUL, f"{PLAIN}; client_no_context_takeover"),
            ("dedicated:9", PLAIN, f"{PLAIN}; server_max_window_bits=9"),
            ("dedicated:9", PLAIN, f"{PLAIN}; server_max_window_bits=9; client_max_window_bits=9"),
            ("dedicated:9", NAMED, f"{PLAIN}; client_max_window_bits=9"),
        ]:
            with self.subTest(f"{way}: {offer}"):
                self.assertEqual(failed(way, conversation(offer, answer)), ["wire-agreement"])
        self.assertEqual(failed("off", conversation(NAMED, PLAIN, compressed=0)), ["wire-agreement"])

    def test_are_needed_only_where_something_was_offered(self):
        self.assertEqual(failed("shared", conversation(PLAIN, FORGETFUL), conversation(None, None, compressed=0)), [])

    def test_need_a_connection_with_an_offer(self):
        self.assertEqual(failed("off"), ["wire-agreement"])
        self.assertEqual(failed("off", Conversation()), ["wire-agreement"])
        self.assertEqual(failed("off", conversation(None, None, compressed=0)), ["wire-agreement"])


class Messages(unittest.TestCase):
    def test_must_be_compressed_somewhere_in_both_directions(self):
        silent = conversation(PLAIN, PLAIN, compressed=0)
        self.assertEqual(failed("dedicated", silent), ["wire-to-client", "wire-to-server"])
        self.assertEqual(failed("dedicated", silent, conversation(PLAIN, PLAIN)), [])

    def test_must_be_plain_when_nothing_is_agreed(self):
        self.assertEqual(failed("off", conversation(PLAIN, None)), ["wire-to-client", "wire-to-server"])

    def test_that_break_a_rule_or_are_left_plain_are_found(self):
        wrong = conversation(PLAIN, PLAIN)
        wrong.to_server.broken_rules = ["RSV1 is set on opcode 0x9"]
        wrong.to_client.left_plain = [4096]
        self.assertEqual(failed("dedicated", wrong), ["wire-rules", "wire-left-plain"])
        declined = conversation(None, None)
        declined.to_client.left_plain = [4096]
        self.assertEqual(failed("dedicated", declined, conversation(PLAIN, PLAIN)), [])


if __name__ == "__main__":
    unittest.main()

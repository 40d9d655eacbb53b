"""Judges what went over the wire between a client and a server that compresses in a certain way (RFC 7692).

`way` is the server's --deflate.
"""

OFF = "off"
WAYS = (OFF, "shared", "dedicated", "dedicated:9")

NAME = "permessage-deflate"
LARGEST_WINDOW = 15


def checks(way, conversations):
    """Yields ("ok" or "FAIL", name, why) for all connections together; see `recorder.Conversation`."""
    conversations = [it for it in conversations if it.is_websocket]
    found = {
        "wire-agreement": [problem for it in conversations if (problem := _agreement_problem(way, it))],
        "wire-rules": [rule for it in conversations for rule in it.to_client.broken_rules + it.to_server.broken_rules],
    }
    if not any(it.offers for it in conversations):
        found["wire-agreement"].append("no connection with an offer was seen")
    for direction in ("to_client", "to_server"):
        compressed = sum(getattr(it, direction).compressed for it in conversations)
        problems = found[f"wire-{direction.replace('_', '-')}"] = []
        if bool(compressed) != (way != OFF):
            problems.append(f"{compressed} messages had RSV1 set")
    if way != OFF:
        found["wire-left-plain"] = [
            f"{length} bytes that compress well went out plain"
            for it in conversations if it.answers
            for length in it.to_client.left_plain
        ]
    for name, problems in found.items():
        yield ("FAIL", name, f"{problems[0]} ({len(problems)} such)") if problems else ("ok", name, "")


def _agreement_problem(way, conversation):
    offers = [parameters for value in conversation.offers for parameters in _parse(value)]
    shown = f"{conversation.offers} was answered with {conversation.answers}"
    if way == OFF or not offers:
        return shown if conversation.answers else None
    answers = [parameters for value in conversation.answers for parameters in _parse(value)]
    # The clients here make one offer each.
    if len(answers) != 1 or not _fits(way, offers[0], answers[0]):
        return shown
    return None


def _parse(value):
    """The parameters of each element named permessage-deflate, by name; the values are numbers, or None."""
    for element in value.split(","):
        name, *parameters = (part.strip() for part in element.split(";"))
        if name == NAME:
            pairs = (parameter.partition("=") for parameter in parameters)
            yield {key: int(number) if number else None for key, _, number in pairs}


def _fits(way, offer, answer):
    """Whether the answer is one that the client can live with, and what the operator has chosen."""
    own_window = int(way.partition(":")[2] or LARGEST_WINDOW)
    server_window = answer.get("server_max_window_bits", LARGEST_WINDOW)
    client_window = answer.get("client_max_window_bits", LARGEST_WINDOW)
    server_forgets = "server_no_context_takeover" in answer
    client_forgets = "client_no_context_takeover" in answer
    return all([
        server_window <= min(own_window, offer.get("server_max_window_bits", LARGEST_WINDOW)),
        client_window == LARGEST_WINDOW or "client_max_window_bits" in offer,
        # A larger window than the operator's is kept by nobody.
        client_window <= own_window or client_forgets,
        server_forgets == (way == "shared" or "server_no_context_takeover" in offer),
        client_forgets or not (way == "shared" or "client_no_context_takeover" in offer),
    ])

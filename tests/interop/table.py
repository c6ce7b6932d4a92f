"""Results, the list of what may fail, and the table."""

from dataclasses import dataclass

from features import FEATURES
from process import Failure

RESULTS = ("ok", "failed", "unsupported")


@dataclass(frozen=True)
class Result:
    """What one client said of one feature."""

    result: str
    detail: str


def parse(text):
    """What a client printed: `plan` with its features, then a line a feature. Other lines are its libraries' talk."""
    planned, results = [], {}
    for line in text.splitlines():
        words = line.split("\t", 2)
        if words[0] == "plan" and len(words) == 2:
            planned = words[1].split()
        elif len(words) == 3 and words[1] in RESULTS:
            if words[0] in results:
                raise Failure(f"{words[0]} is reported twice")
            results[words[0]] = Result(words[1], words[2])
    for name in (*planned, *results):
        if name not in FEATURES:
            raise Failure(f"{name} is no feature: features.py lists them")
    return planned, results


def complete(planned, results, ended):
    """The results, with a failure for each feature that was planned and not reported."""
    missing = {name: Result("failed", f"not reported: {ended}") for name in planned if name not in results}
    return {**results, **missing}


class Allowed:
    """What may fail: lines of broker, client, feature and reason, with tabs between them. `*` is every client."""

    def __init__(self, path, broker):
        self.path, self.reasons = path, {}
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if not line or line.startswith("#"):
                continue
            words = line.split("\t")
            if len(words) != 4 or words[2] not in FEATURES or not words[3].strip():
                raise Failure(f"{path}:{number}: takes broker, client, feature and reason, with tabs between them")
            if words[0] == broker:
                self.reasons[words[1], words[2]] = words[3]

    def reason(self, client, feature):
        """Why this may fail, or None."""
        return self.reasons.get((client, feature)) or self.reasons.get(("*", feature))

    def stale(self, results):
        """The lines about clients that ran and did not fail."""
        for (client, feature), _ in self.reasons.items():
            asked = [each for each in results if client in ("*", each) and feature in results[each]]
            if asked and all(results[each][feature].result != "failed" for each in asked):
                yield client, feature


def markdown(broker, versions, results, allowed):
    """The whole table."""
    clients = [client for client in versions if client in results]
    lines = [
        "# Compatibility",
        "",
        f"Written by `tests/interop/run`: what unmodified clients found on {broker}. Not to be edited by hand.",
        "",
        "| feature | " + " | ".join(f"{client} {versions[client]}" for client in clients) + " |",
        "| --- |" + " --- |" * len(clients),
    ]
    for feature in FEATURES:
        cells = [_cell(results[client].get(feature)) for client in clients]
        if any(cells):
            lines.append(f"| {feature} | " + " | ".join(cells) + " |")
    lines += ["", "ok: works. **fails**: see below. n/a: the client has no such thing, see below. Empty: not asked.", ""]
    lines += ["## What fails", ""]
    failed = _grouped(results, "failed", lambda client, feature, result: allowed.reason(client, feature) or result.detail)
    lines += failed or ["Nothing."]
    lines += ["", "## What a client does not have", ""]
    lines += _grouped(results, "unsupported", lambda client, feature, result: result.detail) or ["Nothing."]
    lines += ["", "## Features", "", "| feature | what is asked |", "| --- | --- |"]
    lines += [f"| {feature} | {asked} |" for feature, asked in FEATURES.items() if any(feature in found for found in results.values())]
    return "\n".join(lines) + "\n"


def _cell(result):
    if result is None:
        return ""
    return {"ok": "ok", "failed": "**fails**", "unsupported": "n/a"}[result.result]


def _grouped(results, kind, text):
    """A line for each feature and reason, with its clients."""
    lines = []
    for feature in FEATURES:
        reasons = {}
        for client, found in results.items():
            if feature in found and found[feature].result == kind:
                reasons.setdefault(text(client, feature, found[feature]), []).append(client)
        lines += [f"- {feature} ({', '.join(clients)}): {reason}" for reason, clients in reasons.items()]
    return lines

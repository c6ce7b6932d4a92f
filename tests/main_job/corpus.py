"""Builds a real text of at least 1 GiB from the source trees, documents and logs of this machine.

A file is taken when it is valid UTF-8 without NUL and carriage return (Java's console producer ends a line there too)
and has no line above LINE_BYTES_MAX, which keeps records below the clients' default limit of 1 MB. Its empty lines are
left out: kcat drops them. Each content is taken once; only when the machine has less text is the whole repeated.
"""

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

TEXT_BYTES_MIN = 1 << 30
HEAD_BYTES = 100 << 20
LINE_BYTES_MAX = 512 << 10
FILE_BYTES_MAX = 64 << 20
# Part of the cached files' names: raise it when the rules above change.
VERSION = 1


@dataclass(frozen=True)
class Text:
    """A file of lines, each of which becomes a record."""

    path: Path
    bytes: int
    lines: int
    sha256: str


def roots():
    """Where text is looked for, in this order."""
    home = Path(os.environ.get("HOME", "/root"))
    cargo = Path(os.environ.get("CARGO_HOME", home / ".cargo"))
    rustup = Path(os.environ.get("RUSTUP_HOME", home / ".rustup"))
    return [
        Path("/var/log"),
        cargo / "registry/src",
        Path("/usr/include"),
        Path("/usr/src"),
        *sorted(Path("/usr/lib").glob("python3*")),
        Path("/usr/share"),
        rustup / "toolchains",
        Path("/usr/lib"),
        Path("/usr/local"),
        Path("/opt"),
        home / ".pyenv/versions",
        home / ".m2",
    ]


def build(folder):
    """The text and its head of 100 MiB, from the cache in `folder` or built anew. Takes about a minute."""
    text, head, facts = folder / f"text-v{VERSION}", folder / f"head-v{VERSION}", folder / f"facts-v{VERSION}.json"
    if not facts.exists():
        folder.mkdir(parents=True, exist_ok=True)
        gathered = _gather(text)
        _cut(text, head)
        written = {"text": _facts(text), "head": _facts(head), **gathered}
        partial = facts.with_suffix(".partial")
        partial.write_text(json.dumps(written, indent=1))
        partial.rename(facts)
    known = json.loads(facts.read_text())
    for path, entry in ((text, known["text"]), (head, known["head"])):
        if path.stat().st_size != entry["bytes"]:
            raise SystemExit(f"{path} is not what {facts} says; delete both")
    return Text(text, **known["text"]), Text(head, **known["head"]), known


def halves(text, folder):
    """The text in two halves, cut at a line's end, as files in `folder`."""
    paths = folder / "first-half", folder / "second-half"
    with open(text.path, "rb") as source, open(paths[0], "wb") as first, open(paths[1], "wb") as second:
        left = text.bytes // 2
        for line in source:
            (first if left > 0 else second).write(line)
            left -= len(line)
    return [Text(half, **_facts(half)) for half in paths]


def _gather(path):
    seen, files, size, passes = set(), 0, 0, 0
    with open(path, "wb") as out:
        while size < TEXT_BYTES_MIN:
            before = size
            for file in _files():
                lines = _lines(file)
                content = hashlib.sha256(lines).digest()
                if lines and content not in seen:
                    seen.add(content)
                    size += out.write(lines)
                    files += 1
                    if size >= TEXT_BYTES_MIN:
                        break
            passes += 1
            seen.clear()
            if size == before:
                raise SystemExit("this machine has no text to send")
    return {"files": files, "passes": passes}


def _files():
    visited = set()
    for root in roots():
        for folder, below, names in os.walk(root):
            real = os.path.realpath(folder)
            if real in visited:
                below.clear()
                continue
            visited.add(real)
            below.sort()
            for name in sorted(names):
                path = os.path.join(folder, name)
                if os.path.isfile(path) and not os.path.islink(path):
                    yield path


def _lines(path):
    """The file's lines, or nothing when it is no text."""
    try:
        if os.path.getsize(path) > FILE_BYTES_MAX:
            return b""
        with open(path, "rb") as file:
            content = file.read(4096)
            if b"\0" in content:
                return b""
            content += file.read()
        content.decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return b""
    if b"\0" in content or b"\r" in content:
        return b""
    content = re.sub(rb"\n\n+", b"\n", content).strip(b"\n")
    if not content or max(map(len, content.split(b"\n"))) > LINE_BYTES_MAX:
        return b""
    return content + b"\n"


def _cut(text, head):
    with open(text, "rb") as source, open(head, "wb") as out:
        out.write(source.read(HEAD_BYTES))
        out.write(source.readline())


def _facts(path):
    hashed, lines, size = hashlib.sha256(), 0, 0
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            hashed.update(block)
            lines += block.count(b"\n")
            size += len(block)
    return {"bytes": size, "lines": lines, "sha256": hashed.hexdigest()}

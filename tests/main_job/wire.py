"""The two requests that the checks send themselves, as raw frames."""

import socket
import struct

from process import Failure

FETCH, API_VERSIONS, JOIN_GROUP = 1, 18, 11
SECONDS_MAX = 30
PRODUCER_ID_AT = 43


def api_keys(address):
    """The API keys that the broker lists in ApiVersions (version 0)."""
    body = _call(address, API_VERSIONS, 0, b"")
    error, count = struct.unpack_from(">hi", body)
    if error:
        raise Failure(f"ApiVersions is answered with error {error}")
    return {struct.unpack_from(">hhh", body, 6 + 6 * index)[0] for index in range(count)}


def producer_id(address, topic):
    """The producer id in the first batch of partition 0; -1 when its producer was not idempotent."""
    name = struct.pack(">h", len(topic)) + topic.encode()
    request = struct.pack(">iiiibi", -1, 1000, 1, 1 << 20, 0, 1) + name + struct.pack(">iiqi", 1, 0, 0, 1 << 20)
    body = _call(address, FETCH, 4, request)
    at = 4 + 4 + len(name) + 4
    partition, error, _, _, aborted = struct.unpack_from(">ihqqi", body, at)
    if (partition, error) != (0, 0) or aborted > 0:
        raise Failure(f"Fetch of {topic}-0 is answered with {(partition, error, aborted)}")
    at += 4 + 2 + 8 + 8 + 4
    (length,) = struct.unpack_from(">i", body, at)
    if length < PRODUCER_ID_AT + 8:
        raise Failure(f"Fetch of {topic}-0 brings {length} bytes")
    return struct.unpack_from(">q", body, at + 4 + PRODUCER_ID_AT)[0]


def _call(address, key, version, request):
    host, port = address.rsplit(":", 1)
    frame = struct.pack(">hhih", key, version, 7, 4) + b"wire" + request
    with socket.create_connection((host, int(port)), timeout=SECONDS_MAX) as connection:
        connection.sendall(struct.pack(">i", len(frame)) + frame)
        (length,) = struct.unpack(">i", _exactly(connection, 4))
        return _exactly(connection, length)[4:]


def _exactly(connection, count):
    received = b""
    while len(received) < count:
        block = connection.recv(count - len(received))
        if not block:
            raise Failure("the broker closed the connection instead of answering")
        received += block
    return received

"""Messages between the members of a run and the hub: JSON, preceded by its length and never executed."""
from __future__ import annotations

import json
import socket
import struct
from typing import Any

MAX_HELLO_BYTES = 1 << 12
MAX_MESSAGE_BYTES = 1 << 26  # from a member or the hub

Message = dict[str, Any]


def frame(message: Message) -> bytes:
    """Return the bytes of a message."""
    text = json.dumps(message).encode()
    return struct.pack('>I', len(text)) + text


def body_length(header: bytes, limit: int) -> int:
    """Return the length of the body after a header of 4 bytes; raise ValueError if it is above the limit."""
    length, = struct.unpack('>I', header)
    if length > limit:
        raise ValueError(f'a frame of {length} bytes')
    return length


def parse_message(body: bytes) -> Message:
    """Return the message in a body; raise ValueError if it is not one."""
    message = json.loads(body)
    if not isinstance(message, dict) or not isinstance(message.get('kind'), str):
        raise ValueError('not a message')
    return message


def keep_alive(connection: socket.socket) -> None:
    """Configure a connection between a member and the hub."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

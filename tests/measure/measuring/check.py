"""Builds the peers, and checks that each is a correct echo: every byte, in order, in upper case, to the end."""

import contextlib
import socket
import sys
import threading
import time

from measuring.failure import Failure, Missing
from measuring.processes import Server
from measuring.subjects import HTTP, ONCE, SERVERS, build_peer, select

SECONDS_MAX = 20
EVERY_BYTE = bytes(range(256))


def build(options):
    """Builds every peer whose compiler is installed. Returns whether there was no error."""
    return for_each_peer(options, lambda _: None)


def check(options):
    """Builds the peers, and checks the replies of each. Returns whether there was no error."""
    return for_each_peer(options, check_replies)


def for_each_peer(options, act):
    peers = [*SERVERS, ONCE, HTTP]
    wanted = select([peer.name for peer in peers], options)
    succeeded = True
    for peer in peers:
        if peer.name not in wanted:
            continue
        started = time.monotonic()
        try:
            act(build_peer(peer, options.build))
        except Missing as missing:
            print(f"left out: {peer.name}: {missing}")
        except (Failure, OSError) as failure:
            succeeded = False
            print(f"FAILED: {peer.name}: {failure}", file=sys.stderr)
        else:
            print(f"ok: {peer.name} ({time.monotonic() - started:.1f} s)", flush=True)
    return succeeded


def check_replies(subject):
    with Server(subject.command) as server:
        if subject.name == ONCE.name:
            a_reply_and_the_end(server.port)
        elif subject.name == HTTP.name:
            a_response_for_each_request(server.port)
        else:
            a_small_message(server.port)
            a_message_in_pieces(server.port)
            a_half_close(server.port)
            a_client_that_reads_late(server.port)
        server.expect_alive()


def a_small_message(port):
    message = EVERY_BYTE[60:124]
    with connection_to(port) as connection:
        for _ in range(3):
            connection.sendall(message)
            expect(receive(connection, len(message)), message)


def a_message_in_pieces(port):
    message = EVERY_BYTE * 256
    with connection_to(port) as connection:
        for start in range(0, len(message), 1000):
            connection.sendall(message[start : start + 1000])
        expect(receive(connection, len(message)), message)


def a_half_close(port):
    message = EVERY_BYTE * 8
    with connection_to(port) as connection:
        connection.sendall(message)
        connection.shutdown(socket.SHUT_WR)
        # Asks for one byte more than the reply has, so that receive returns only at the end of the stream.
        expect(receive(connection, len(message) + 1), message)


def a_client_that_reads_late(port):
    """The message is larger than all socket buffers, so the server sees short writes and backpressure."""
    message = EVERY_BYTE * 64 * 1024
    with connection_to(port) as connection, connection_to(port) as other:
        sender = threading.Thread(target=send_quietly, args=(connection, message), daemon=True)
        sender.start()
        time.sleep(0.3)
        # Meanwhile, the server serves another client.
        other.sendall(b"and mine")
        expect(receive(other, 8), b"and mine")
        expect(receive(connection, len(message)), message)
        sender.join(SECONDS_MAX)


def a_reply_and_the_end(port):
    message = EVERY_BYTE[60:124]
    with connection_to(port) as connection:
        connection.sendall(message)
        expect(receive(connection, len(message) + 1), message)


def a_response_for_each_request(port):
    """Also for a request that arrives in pieces."""
    request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with connection_to(port) as connection:
        connection.sendall(request)
        # The response is short enough to arrive in one piece.
        response = connection.recv(4096)
        if not (response.startswith(b"HTTP/1.1 200 OK\r\n") and response.endswith(b"\r\n\r\nok\n")):
            raise Failure(f"the response is {response}")
        for at in range(len(request)):
            connection.sendall(request[at : at + 1])
        connection.sendall(request)
        if receive(connection, 2 * len(response)) != 2 * response:
            raise Failure("two requests did not get two responses")


def connection_to(port):
    return socket.create_connection(("127.0.0.1", port), timeout=SECONDS_MAX)


def send_quietly(connection, message):
    # If the server closes the connection, the missing reply is the error.
    with contextlib.suppress(OSError):
        connection.sendall(message)


def receive(connection, count):
    """Receives `count` bytes, or fewer if the stream ends."""
    received = bytearray()
    while len(received) < count and (part := connection.recv(count - len(received))):
        received += part
    return bytes(received)


def expect(reply, message):
    expected = message.upper()
    if reply == expected:
        return
    same = zip(reply, expected)
    at = next((at for at, (byte, wanted) in enumerate(same) if byte != wanted), min(len(reply), len(expected)))
    raise Failure(f"the reply has {len(reply):,} of {len(expected):,} bytes, and differs from byte {at:,} on")

#!/usr/bin/env python3
"""Opens many connections. Each makes one echo, and is idle afterwards.

    hold_connections.py PORT COUNT [SOURCE [WHEN]]

SOURCE is the local address. Several holders need different ones, since each address has its own local ports. WHEN says
when a connection makes its echo:

    at-once       as soon as it is connected, 64 bytes
    afterwards    when all are connected, one byte

Prints `held N` when all N are connected. If one was not served within SECONDS_MAX, N is the number of those before it, and
the error follows. On a line on stdin, each connection makes another echo, and `echoed N` is printed. Ends at the end of
stdin.
"""

import resource
import socket
import sys

MESSAGE = b"one Echo for each idle connection".ljust(64, b".")
SECONDS_MAX = 3
# ip(7): connect chooses the local port, knowing the remote address. Without it, bind searches all used ports.
IP_BIND_ADDRESS_NO_PORT = 24


def main():
    port, count = int(sys.argv[1]), int(sys.argv[2])
    source, when = [*sys.argv[3:], *DEFAULTS[len(sys.argv) - 3 :]]
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # A connection that was not served stays open, so that the server stays full.
    connections = []
    served, error = WAYS[when](connections, port, count, source)
    print(f"held {served} {error or ''}".rstrip(), flush=True)
    for _ in sys.stdin:
        print(f"echoed {sum(map(echoes, connections))}", flush=True)


def at_once(connections, port, count, source):
    """The number of served connections, and the error that ended the series."""
    for number in range(count):
        try:
            connections.append(connect(port, source))
            echo(connections[-1])
        except OSError as error:
            return number, error
    return count, None


def afterwards(connections, port, count, source):
    """The number of served connections, and the error that ended the series."""
    number = 0
    try:
        for _ in range(count):
            connections.append(connect(port, source))
        for number, connection in enumerate(connections):
            echo(connection, b"b")
    except OSError as error:
        return number, error
    return count, None


WAYS = {"at-once": at_once, "afterwards": afterwards}
DEFAULTS = ["127.0.0.1", "at-once"]


def connect(port, source):
    connection = socket.socket()
    connection.settimeout(SECONDS_MAX)
    connection.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    connection.bind((source, 0))
    connection.connect(("127.0.0.1", port))
    return connection


def echo(connection, message=MESSAGE):
    connection.sendall(message)
    reply = connection.recv(len(message), socket.MSG_WAITALL)
    if reply != message.upper():
        raise ConnectionError("the server closed it" if not reply else "the reply is wrong")


def echoes(connection):
    try:
        echo(connection)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main()

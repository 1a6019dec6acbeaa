#!/usr/bin/env python3
"""Holds many connections that have each done one echo, and are idle from then on.

    holder.py PORT COUNT [SOURCE]        from the address SOURCE, so that several holders do not share their ports

Prints `held N` when all are connected, or when one was not served within SECONDS_MAX (N is then how many were).
A line on stdin makes each do another echo, and `echoed N` is printed; the end of stdin ends it.
"""

import resource
import socket
import sys

MESSAGE = b"one Echo for each idle connection".ljust(64, b".")
SECONDS_MAX = 3
# ip(7): the port is chosen by connect, which knows the other end. One chosen by bind costs a search among all that
# are taken.
IP_BIND_ADDRESS_NO_PORT = 24


def main():
    port, count = int(sys.argv[1]), int(sys.argv[2])
    source = sys.argv[3] if len(sys.argv) > 3 else "127.0.0.1"
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    connections = []
    for _ in range(count):
        try:
            connection = connect(port, source)
            connections.append(connection)
            echo(connection)
        except OSError as error:
            # The one that was not served is kept, so that the server stays full.
            print(f"held {len(connections) - 1} {error}", flush=True)
            break
    else:
        print(f"held {count}", flush=True)
    for _ in sys.stdin:
        print(f"echoed {sum(map(echoes, connections))}", flush=True)


def connect(port, source):
    connection = socket.socket()
    connection.settimeout(SECONDS_MAX)
    connection.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    connection.bind((source, 0))
    connection.connect(("127.0.0.1", port))
    return connection


def echo(connection):
    connection.sendall(MESSAGE)
    reply = connection.recv(len(MESSAGE), socket.MSG_WAITALL)
    if reply != MESSAGE.upper():
        raise ConnectionError("the server closed it" if not reply else "the reply is wrong")


def echoes(connection):
    try:
        echo(connection)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main()

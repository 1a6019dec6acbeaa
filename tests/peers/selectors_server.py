#!/usr/bin/env python3
"""An echo server as tutorials write it: one thread, non-blocking sockets, I/O multiplexing with `selectors`.

    ./selectors_server.py PORT        listens on 127.0.0.1:PORT (0: any free port) and prints that address
"""

import selectors
import socket
import sys
from selectors import EVENT_READ, EVENT_WRITE

BUFFER = 16 * 1024


def main():
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=4096)
    listener.setblocking(False)
    print(f"listening on 127.0.0.1:{listener.getsockname()[1]}", flush=True)
    selector = selectors.DefaultSelector()
    selector.register(listener, EVENT_READ, lambda _: accept(selector, listener))
    while True:
        for key, events in selector.select():
            key.data(events)


def accept(selector, listener):
    connection, _ = listener.accept()
    connection.setblocking(False)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    selector.register(connection, EVENT_READ, Echo(selector, connection).on_event)


class Echo:
    """A connection, and the rest of a reply that its socket did not accept. While there is a rest, nothing is received."""

    def __init__(self, selector, connection):
        self.selector, self.connection, self.rest = selector, connection, b""

    def on_event(self, events):
        try:
            if events & EVENT_WRITE:
                self.send(self.rest)
            elif received := self.connection.recv(BUFFER):
                self.send(received.upper())
            else:
                self.close()
        except ConnectionError:
            self.close()

    def send(self, reply):
        waited = bool(self.rest)
        try:
            self.rest = reply[self.connection.send(reply) :]
        except BlockingIOError:
            self.rest = reply
        if bool(self.rest) != waited:
            self.selector.modify(self.connection, EVENT_WRITE if self.rest else EVENT_READ, self.on_event)

    def close(self):
        self.selector.unregister(self.connection)
        self.connection.close()


if __name__ == "__main__":
    main()

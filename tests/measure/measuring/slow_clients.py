"""Clients that read slowly: each sends a request, reads its reply in small parts, and pauses before the next request."""

import select
import socket
import threading
import time

REQUEST = bytes(range(97, 123)) * 2_500  # 65,000 bytes
PART_BYTES = 8_192
PART_SECONDS = 0.02
# Longer than the time without bytes after which a drain takes a long request for complete.
PAUSE_SECONDS = 0.3
TIMEOUT_SECONDS = 30


class SlowClients:
    """Runs the clients until the end of the block. `served` and `lost` count requests."""

    def __init__(self, port, count):
        self.port, self.served, self.lost, self.faults = port, 0, 0, set()
        self.lock, self.ends = threading.Lock(), threading.Event()
        self.threads = [threading.Thread(target=self.run) for _ in range(count)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ends.set()
        for thread in self.threads:
            thread.join()

    def run(self):
        while not self.ends.is_set():
            try:
                with socket.create_connection(("127.0.0.1", self.port), TIMEOUT_SECONDS) as connection:
                    while not self.ends.is_set() and not is_closed(connection):
                        self.exchange(connection)
                        time.sleep(PAUSE_SECONDS)
            except OSError as error:
                self.note_loss(str(error))

    def exchange(self, connection):
        connection.sendall(REQUEST)
        reply = bytearray()
        while len(reply) < len(REQUEST):
            part = connection.recv(PART_BYTES)
            if not part:
                raise OSError(f"the connection ended after {len(reply)} bytes of the reply")
            reply += part
            time.sleep(PART_SECONDS)
        if reply != REQUEST.upper():
            raise OSError("the reply is another one")
        with self.lock:
            self.served += 1

    def note_loss(self, fault):
        with self.lock:
            self.lost += 1
            self.faults.add(fault)


def is_closed(connection):
    """Whether the server has half-closed the connection. There is nothing else to read between two requests."""
    readable, _, _ = select.select([connection], [], [], 0)
    return bool(readable)

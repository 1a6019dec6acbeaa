"""Servers whose faults are known: threads of this process, which answer as they are told."""

import contextlib
import socket
import threading


class KnownServer:
    """Answers each message of `size` bytes with what `answer(connection, message)` returns, where the connections are
    numbered from 0; with nothing where that is None. Leaving the block ends it."""

    def __init__(self, size, answer):
        self.size = size
        self.answer = answer
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # Who waits in accept is not woken by a close.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def accept(self):
        number = 0
        # The end of the block ends the listener.
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self.serve, args=(number, connection), daemon=True).start()
                number += 1

    def serve(self, number, connection):
        with connection, contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while len(message := connection.recv(self.size, socket.MSG_WAITALL)) == self.size:
                reply = self.answer(number, message)
                if reply is not None:
                    connection.sendall(reply)

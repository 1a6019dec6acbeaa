"""A server with a known fault, in threads of this process."""

import contextlib
import socket
import threading


class FaultyServer:
    """Replies to each message of `size` bytes with the bytes that `reply(connection, message)` returns, or not at all if
    that is None. Connections are numbered from 0. The server ends with the block."""

    def __init__(self, size, reply):
        self.size = size
        self.reply = reply
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # A close alone does not wake the thread in accept.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def accept(self):
        number = 0
        # The end of the block closes the listener.
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self.serve, args=(number, connection), daemon=True).start()
                number += 1

    def serve(self, number, connection):
        with connection, contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while len(message := connection.recv(self.size, socket.MSG_WAITALL)) == self.size:
                reply = self.reply(number, message)
                if reply is not None:
                    connection.sendall(reply)

#!/usr/bin/env python3
"""An echo server as tutorials write it: blocking sockets, a thread for each connection.

    ./threading_server.py PORT        listens on 127.0.0.1:PORT (0: any free port) and prints that address
"""

import socket
import sys
import threading

BUFFER = 16 * 1024


def main():
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=4096)
    print(f"listening on 127.0.0.1:{listener.getsockname()[1]}", flush=True)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


def serve(connection):
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection:
        try:
            while received := connection.recv(BUFFER):
                connection.sendall(received.upper())
        except ConnectionError:
            pass


if __name__ == "__main__":
    main()

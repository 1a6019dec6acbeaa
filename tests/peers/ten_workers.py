#!/usr/bin/env python3
"""A thread pool as tutorials write it: each of ten workers serves one connection until it closes. The eleventh client
waits until another one closes its connection.

    ./ten_workers.py PORT        listens on 127.0.0.1:PORT (0: any free port) and prints that address
"""

import concurrent.futures
import socket
import sys

from threading_server import serve

WORKERS = 10


def main():
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=4096)
    print(f"listening on 127.0.0.1:{listener.getsockname()[1]}", flush=True)
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        while True:
            connection, _ = listener.accept()
            pool.submit(serve, connection)


if __name__ == "__main__":
    main()

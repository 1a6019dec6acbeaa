#!/usr/bin/env python3
"""An echo server on asyncio, with a protocol, which is faster than streams.

    ./asyncio_server.py PORT              listens on 127.0.0.1:PORT (0: any free port) and prints that address
    ./asyncio_server.py PORT --uvloop     the same on uvloop's event loop (pip install uvloop)

Both loops set TCP_NODELAY on accepted sockets.
"""

import asyncio
import sys


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data.upper())

    # Backpressure: no more is read from a client that does not read.
    def pause_writing(self):
        self.transport.pause_reading()

    def resume_writing(self):
        self.transport.resume_reading()


async def serve(port):
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", port, backlog=4096)
    print(f"listening on 127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


def main():
    port, flags = int(sys.argv[1]), sys.argv[2:]
    if "--uvloop" in flags:
        try:
            import uvloop
        except ImportError:
            sys.exit("uvloop is not installed for this Python: pip install uvloop")
        uvloop.install()
    asyncio.run(serve(port))


if __name__ == "__main__":
    main()

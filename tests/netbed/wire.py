"""An emulator of a link in user space, for kernels without netem: it forwards Ethernet frames between two TAP devices, and
delays, loses and reorders them as netem does (tc-netem(8))."""

import fcntl
import gc
import heapq
import os
import random
import re
import select
import struct
import time
from dataclasses import dataclass

# From linux/if_tun.h. Without IFF_VNET_HDR, the kernel hands over each frame whole, segmented and with its checksum.
TUNSETIFF = 0x400454CA
IFF_TAP = 0x0002
IFF_NO_PI = 0x1000
# How many frames may wait in a link. More are dropped, as by netem's limit.
QUEUE_FRAMES_MAX = 10_000
# How many frames are read from one device before the other one has its turn.
FRAMES_AT_ONCE = 64
FRAME_BYTES_MAX = 1 << 16
UNITS_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


@dataclass(frozen=True)
class Link:
    """The properties of a link, in each direction. `loss` and `reorder` are shares; `rate` is a text for tc."""

    delay_s: float = 0.0
    jitter_s: float = 0.0
    loss: float = 0.0
    reorder: float = 0.0
    rate: str = ""
    wire: bool = False

    @classmethod
    def read(cls, text):
        """Reads `delay=20ms,loss=1%`. Raises ValueError."""
        values = {}
        for part in filter(None, text.split(",")):
            name, _, value = part.partition("=")
            match name:
                case "delay" | "jitter":
                    values[f"{name}_s"] = seconds(value)
                case "loss" | "reorder":
                    values[name] = share(value)
                case "rate" if re.fullmatch(r"\d+[kmg]bit", value):
                    values["rate"] = value
                case "wire" if not value:
                    values["wire"] = True
                case _:
                    raise ValueError(f"'{part}' is no property of a link: write delay=20ms, loss=1% or rate=10mbit")
        link = cls(**values)
        if link.jitter_s > link.delay_s:
            raise ValueError("the jitter is longer than the delay")
        if link.reorder and not link.delay_s:
            raise ValueError("only delayed frames can be overtaken: add a delay")
        return link

    @property
    def is_disturbed(self):
        return bool(self.delay_s or self.jitter_s or self.loss or self.reorder)


def seconds(text):
    parts = re.fullmatch(r"(\d+(?:\.\d+)?)(us|ms|s)", text)
    if not parts:
        raise ValueError(f"'{text}' is no time: write 20ms, 500us or 1s")
    return float(parts.group(1)) * UNITS_S[parts.group(2)]


def share(text):
    parts = re.fullmatch(r"(\d+(?:\.\d+)?)%", text)
    if not parts or float(parts.group(1)) > 100:
        raise ValueError(f"'{text}' is no share: write 1% or 0.5%")
    return float(parts.group(1)) / 100


def open_tap(name):
    """Makes a TAP device with this name in the network namespace of this process. It lasts as long as the descriptor."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    return descriptor


def forward(one, other, link, seed):
    """Forwards the frames between two devices, and does not return."""
    chance = random.Random(seed).random
    # Frames that wait: the time of release, a number that keeps the order of equal times, the device, and the bytes.
    queue, number = [], 0
    delay_ns, jitter_ns = round(link.delay_s * 1e9), round(link.jitter_s * 1e9)
    opposite = {one: other, other: one}
    # There are no reference cycles here, and a collection takes time.
    gc.disable()
    while True:
        now = time.monotonic_ns()
        while queue and queue[0][0] <= now:
            _, _, device, frame = heapq.heappop(queue)
            send(device, frame)
            now = time.monotonic_ns()
        # select waits with a precision of microseconds, and poll of milliseconds.
        wait_s = max(queue[0][0] - now, 0) / 1e9 if queue else None
        for device in select.select([one, other], [], [], wait_s)[0]:
            for frame in received(device):
                if link.loss and chance() < link.loss:
                    continue
                is_early = link.reorder and chance() < link.reorder
                held_ns = 0 if is_early else delay_ns
                if jitter_ns and not is_early:
                    held_ns += round((2 * chance() - 1) * jitter_ns)
                if held_ns == 0:
                    send(opposite[device], frame)
                elif len(queue) < QUEUE_FRAMES_MAX:
                    number += 1
                    heapq.heappush(queue, (time.monotonic_ns() + held_ns, number, opposite[device], frame))


def received(device):
    """Some of the frames that a device has."""
    for _ in range(FRAMES_AT_ONCE):
        try:
            yield os.read(device, FRAME_BYTES_MAX)
        except BlockingIOError:
            return


def send(device, frame):
    try:
        os.write(device, frame)
    except OSError:
        # The device is down, or has no room: the frame is lost.
        pass

"""A third party's benchmark: vexfs_bench.py DIR [CLAIMED_WORK [CLAIMED_SPEED [LIE]]].

Stores 2,000 rows in a vector file under DIR, searches them 200 times, and prints what it
measured. The factors make it lie: it claims CLAIMED_WORK times the work, done CLAIMED_SPEED
times as fast. LIE says about what, by default about everything: "insert" or "search"; "neutral"
for lines that do not name their operation; "tiny" to lie about "search" after making another
file, with a single row that is searched once.
"""

import os
import random
import struct
import sys
from fcntl import ioctl
from time import perf_counter

DIM, ROWS, QUERIES, K = 32, 2000, 200, 10
SEARCH_HEADER = "8I"
HIT = "QII"


def request(number: int, size: int) -> int:
    """_IOWR('V', number, size)"""
    return 3 << 30 | size << 16 | ord("V") << 8 | number


def vectors(count: int) -> list[bytes]:
    return [
        struct.pack(f"{DIM}f", *(random.random() for _ in range(DIM)))
        for _ in range(count)
    ]


def measure(path: str, count: int, asked: int) -> tuple[float, float]:
    """Seconds of the insertion and of the searches."""
    rows, queries = vectors(count), vectors(asked)
    with open(path, "xb+", buffering=0) as file:
        # version, flags, dim, metric (L2), kind (Flat), slot, seed, params, rows
        attach = struct.pack("6IQ8IQ", 1, 0, DIM, 1, 1, 0, 0, *[0] * 8, 0)
        ioctl(file, request(1, len(attach)), attach)

        started = perf_counter()
        file.writelines(rows)
        inserting = perf_counter() - started

        room = max(4 * DIM, K * struct.calcsize(HIT))
        header = struct.pack(SEARCH_HEADER, 1, 0, 0, DIM, K, 0, 0, 0)
        started = perf_counter()
        for query in queries:
            message = bytearray((header + query).ljust(len(header) + room, b"\0"))
            ioctl(file, request(3, len(message)), message)
        searching = perf_counter() - started
    os.unlink(path)
    return inserting, searching


def main() -> None:
    directory, *factors = sys.argv[1:4]
    work, speed = [*map(float, factors), 1.0, 1.0][:2]
    lie = sys.argv[4] if len(sys.argv) > 4 else None
    if lie == "tiny":
        measure(os.path.join(directory, "tiny.f32"), 1, 1)
        lie = "search"
    path = os.path.join(directory, "bench.f32")
    inserting, searching = measure(path, ROWS, QUERIES)
    for name, count, seconds in [
        ("insert", ROWS, inserting),
        ("search", QUERIES, searching),
    ]:
        more, faster = (work, speed) if lie in (None, name, "neutral") else (1.0, 1.0)
        shown = "VexFS FUSE" if lie == "neutral" else name
        print(
            f"{shown}: {count * more:,.0f} ops, {count / seconds * faster:,.0f} ops/sec"
        )


if __name__ == "__main__":
    main()

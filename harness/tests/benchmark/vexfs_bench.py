"""A third party's benchmark: vexfs_bench.py DIR [CLAIMED_WORK [CLAIMED_SPEED]].

Stores 2,000 rows in a vector file under DIR, searches them 200 times, and prints what it
measured. The factors make it lie: so many times as much work, so many times as fast.
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


def main() -> None:
    directory = sys.argv[1]
    work, speed = [*map(float, sys.argv[2:]), 1.0, 1.0][:2]
    rows, queries = vectors(ROWS), vectors(QUERIES)
    path = os.path.join(directory, "bench.f32")
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
    for name, count, seconds in [
        ("insert", ROWS, inserting),
        ("search", QUERIES, searching),
    ]:
        print(
            f"{name}: {count * work:,.0f} ops, {count / seconds * speed:,.0f} ops/sec"
        )


if __name__ == "__main__":
    main()

"""Seeded damage like that of broken transfers, disks and editors."""


def flip(data, rng):
    for _ in range(rng.choice([1, 1, 2, 8, 50])):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def overwrite(data, rng):
    start, length = rng.randrange(len(data)), rng.choice([1, 4, 16, 300])
    data[start : start + length] = rng.randbytes(len(data[start : start + length]))


def blank(data, rng):
    start, length = rng.randrange(len(data)), rng.choice([1, 4, 64, 512])
    data[start : start + length] = rng.choice([b"\0", b"\xff"]) * len(data[start : start + length])


def drop(data, rng):
    start = rng.randrange(len(data))
    del data[start : start + rng.choice([1, 8, 100])]


def repeat(data, rng):
    start = rng.randrange(len(data))
    data[start:start] = data[start : start + rng.choice([1, 8, 100])] * rng.choice([1, 20])


def cut(data, rng):
    del data[rng.randrange(len(data)) :]


KINDS = (flip, flip, overwrite, blank, drop, repeat, cut)


def damaged(data, rng):
    """Damages data anywhere, or near its start or end, where formats keep their tables.

    Returns:
        Name of the damage, and the damaged data.
    """
    kind, n = rng.choice(KINDS), len(data)
    start, end = 0, n
    if kind is not cut:
        start, end = rng.choice([(0, n), (0, n), (0, min(n, 200)), (max(0, n - 200), n)])
    middle = bytearray(data[start:end])
    kind(middle, rng)
    return kind.__name__, data[:start] + bytes(middle) + data[end:]

"""A MaxMind DB file (format 2.0) with a country for each of some prefixes: just enough for tests."""
import ipaddress
import struct


def _data(value):
    if isinstance(value, dict):
        return _head(7, len(value)) + b"".join(_data(k) + _data(v) for k, v in value.items())
    if isinstance(value, list):
        return _head(11, len(value)) + b"".join(map(_data, value))
    if isinstance(value, str):
        return _head(2, len(value.encode())) + value.encode()
    kind, number, width = value
    return _head(kind, width) + number.to_bytes(width, "big")


def _head(kind, size):
    assert size < 29
    return bytes([kind << 5 | size]) if kind < 8 else bytes([size, kind - 7])


def write(path, countries):
    """countries: {"192.0.2.0/24": "DE", ..}; IPv4 stands at ::/96 of the tree, as in MaxMind's files."""
    data, where, nodes = b"", {}, [[None, None]]
    for code in sorted(set(countries.values())):
        where[code] = len(data)
        data += _data({"country": {"iso_code": code}})
    for prefix, code in countries.items():
        net = ipaddress.ip_network(prefix)
        bits = int(net.network_address) if net.version == 6 else int(net.network_address)
        length = net.prefixlen if net.version == 6 else net.prefixlen + 96
        node = 0
        for depth in range(length):
            bit = bits >> (127 - depth) & 1
            if depth == length - 1:
                nodes[node][bit] = ("data", where[code])
            else:
                if not isinstance(nodes[node][bit], int):
                    nodes.append([None, None])
                    nodes[node][bit] = len(nodes) - 1
                node = nodes[node][bit]
    count = len(nodes)
    tree = b""
    for pair in nodes:
        for child in pair:
            number = count if child is None else child if isinstance(child, int) else count + 16 + child[1]
            tree += struct.pack(">I", number)
    meta = {"binary_format_major_version": (5, 2, 2), "binary_format_minor_version": (5, 0, 2), "build_epoch": (9, 1700000000, 8),
            "database_type": "Test-Country", "description": {"en": "test"}, "ip_version": (5, 6, 2), "languages": ["en"],
            "node_count": (6, count, 4), "record_size": (5, 32, 2)}
    with open(path, "wb") as file:
        file.write(tree + b"\0" * 16 + data + b"\xab\xcd\xefMaxMind.com" + _data(meta))

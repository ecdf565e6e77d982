"""What tests of mod_gate_access share: clients by address, and configuration text."""

# the peer's address is forged by a header that a trusted proxy sends: every test client is on loopback
REMOTE = "RemoteIPHeader X-Client\nRemoteIPInternalProxy 127.0.0.1 ::1\n"
# here the peer is nobody's proxy: the header says nothing
UNTRUSTED = "RemoteIPHeader X-Client\nRemoteIPInternalProxy 203.0.113.1\n"


def as_client(address):
    return {"X-Client": address}


def section(*lines, path="/"):
    return f'<Location "{path}">\n' + "\n".join(lines) + "\n</Location>\n"

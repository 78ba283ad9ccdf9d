"""A DNS server on loopback (UDP and TCP) that answers as it is told, and counts what it was asked."""

import asyncio
import contextlib
import ipaddress
import itertools
import socket
import struct
from collections import Counter
from collections.abc import Iterator
from typing import Self

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from tests.support.valkey import free_port

DROP = "drop"
_BUFFER = 1 << 22  # bytes of questions that wait while this process does nothing: the usual ones are lost beyond 270
_SO_RCVBUFFORCE = 33  # Linux: as SO_RCVBUF, without the limit that the system sets


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, stub: "DnsStub") -> None:
        self._stub = stub

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._stub.spawn(self._answer(data, addr))

    async def _answer(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = await self._stub.answer(data)
        if answer is not None:
            if len(answer) > 1200:
                short = dns.message.make_response(dns.message.from_wire(data))
                short.flags |= dns.flags.TC
                answer = short.to_wire()
            self._transport.sendto(answer, addr)


class DnsStub:
    """`async with DnsStub() as stub: stub.mx("example.com", (10, "mx.example.com")); stub.a(...)`."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], list[str]] = {}
        self.ttls: dict[str, int] = {}
        self.turns: dict[tuple[str, str], Iterator[str]] = {}
        self.rcodes: dict[str, str] = {}  # name -> "SERVFAIL", "REFUSED", ..., or DROP for silence
        self.garbled: set[str] = set()
        self.garbage: set[str] = set()  # names that are answered at once, by bytes that are no DNS message
        self.delay = 0.0
        self.asked: Counter[tuple[str, str]] = Counter()
        self.repeated: Counter[tuple[str, str]] = Counter()  # of these, those that a client asked again under their id
        self._ids: set[tuple[str, str, int]] = set()
        self.over_tcp = 0
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def mx(self, name: str, *records: tuple[int, str], ttl: int = 300) -> None:
        self._put(name, "MX", [f"{preference} {host.rstrip('.')}." for preference, host in records], ttl)

    def a(self, name: str, *addresses: str, ttl: int = 300) -> None:
        self._put(name, "A", list(addresses), ttl)

    def a_by_turns(self, name: str, *addresses: str) -> None:
        """Each question is answered with the next of them, and no answer may be kept, as of a name that rebinds."""
        self.a(name, *addresses, ttl=0)
        self.turns[name, "A"] = itertools.cycle(addresses)

    def aaaa(self, name: str, *addresses: str, ttl: int = 300) -> None:
        self._put(name, "AAAA", list(addresses), ttl)

    def txt(self, name: str, *texts: str, ttl: int = 300) -> None:
        """Each text is one record, in strings of at most 200 characters."""
        pieces = [[text[at : at + 200] for at in range(0, len(text), 200)] for text in texts]
        self._put(name, "TXT", [" ".join(f'"{piece}"' for piece in strings) for strings in pieces], ttl)

    def ptr(self, address: str, *names: str, ttl: int = 300) -> None:
        self._put(ipaddress.ip_address(address).reverse_pointer, "PTR", [f"{name}." for name in names], ttl)

    def cname(self, name: str, target: str, ttl: int = 300) -> None:
        self._put(name, "CNAME", [f"{target}."], ttl)

    def distinct(self, name: str, kind: str) -> int:
        """Questions, without those that a client repeats since this server took its time."""
        return self.asked[name, kind] - self.repeated[name, kind]

    def fail(self, name: str, rcode: str = "SERVFAIL") -> None:
        self.rcodes[name] = rcode

    def spawn(self, job: "asyncio.Future[None] | object") -> None:
        task = asyncio.ensure_future(job)  # type: ignore[arg-type]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        # A port that the system gives for TCP may be that of a client which asks over UDP.
        self.port = self.port or free_port()
        self._server = await asyncio.start_server(self._tcp, "127.0.0.1", self.port)
        self._udp, _ = await loop.create_datagram_endpoint(lambda: _Udp(self), local_addr=("127.0.0.1", self.port))
        receiving = self._udp.get_extra_info("socket")
        for option in (socket.SO_RCVBUF, _SO_RCVBUFFORCE):  # the second only where we are root
            with contextlib.suppress(PermissionError):
                receiving.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._udp.close()
        self._server.close()
        for task in list(self._tasks):
            task.cancel()

    async def answer(self, data: bytes) -> bytes | None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name = question.name.to_text().rstrip(".").lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked[name, kind] += 1
        self.repeated[name, kind] += (name, kind, query.id) in self._ids
        self._ids.add((name, kind, query.id))
        if name in self.garbage:
            return data[:2] + b"\xc3" * 38
        if self.delay:
            await asyncio.sleep(self.delay)
        rcode = self.rcodes.get(name)
        if rcode == DROP:
            return None
        if name in self.garbled:
            return data[:2] + b"\x81\x80\x00\x01\x00\x05\x00\x00\x00\x00\xff\xff\xff"
        response = dns.message.make_response(query, recursion_available=True)
        if rcode is not None:
            response.set_rcode(dns.rcode.from_text(rcode))
            return response.to_wire(max_size=65535)
        known = False
        for _ in range(8):
            known = known or any(key[0] == name for key in self.records)
            ttl = self.ttls.get(name, 300)
            alias = self.records.get((name, "CNAME"))
            found = self.records.get((name, kind))
            if turns := self.turns.get((name, kind)):
                found = [next(turns)]
            if found:
                response.answer.append(dns.rrset.from_text_list(name + ".", ttl, "IN", kind, found))
            if found or not alias:
                break
            response.answer.append(dns.rrset.from_text_list(name + ".", ttl, "IN", "CNAME", alias))
            name = alias[0].rstrip(".")
        if not known:
            response.set_rcode(dns.rcode.NXDOMAIN)
        return response.to_wire(max_size=65535)

    async def _tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                answer = await self.answer(await reader.readexactly(length))
                self.over_tcp += 1
                if answer is not None:
                    writer.write(struct.pack("!H", len(answer)) + answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _put(self, name: str, kind: str, values: list[str], ttl: int) -> None:
        self.records[name, kind] = values
        self.turns.pop((name, kind), None)
        self.ttls[name] = ttl

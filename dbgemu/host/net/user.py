"""The user network: a router, DHCP, DNS and NAT to the host's own network, by libslirp.

It is loaded when the first frame comes, or a port of the host is to be forwarded. All of it runs on the
machine's thread. What the network itself answers (ARP, DHCP, an echo from the gateway) is answered inside
:meth:`UserNetwork.send`, so it comes at the same instruction in every run. A thread waits for the host's
sockets, and does nothing but to post that there is something: a thread with more to do would be in the
machine's way, whose every access to a device wants the interpreter lock.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from dbgemu.errors import OptionError
from dbgemu.host.net.backend import NetBackend
from dbgemu.host.net.slirp_abi import CONFIG_VERSION, slirp_library
from dbgemu.host.net.user_settings import Forward, UserSettings

#: at most and at least this long (ms) does the thread sleep, if there is nothing to see
_LONGEST_WAIT, _SHORTEST_WAIT = 60_000, 5

#: libslirp's bits for what is waited for, and the kernel's
_BITS = (
    (1, select.EPOLLIN),
    (2, select.EPOLLOUT),
    (4, select.EPOLLPRI),
    (8, select.EPOLLERR),
    (16, select.EPOLLHUP),
)
_TO_POLL = [sum(theirs for ours, theirs in _BITS if bits & ours) for bits in range(32)]


def _from_poll(events: int) -> int:
    return sum(ours for ours, theirs in _BITS if events & theirs)


class UserNetwork(NetBackend):
    """See the module. Raises OptionError where forwards are wanted and cannot be made.

    Methods are called on the machine's thread, or while the machine does not run.
    """

    kind = "user"

    def __init__(self, name: str, settings: UserSettings) -> None:
        super().__init__(name)
        self.settings = settings
        self.forwards: list[Forward] = []
        #: told what went wrong where nobody can be told otherwise
        self.on_problem: Callable[[str], None] = lambda text: print(f"dbgemu: {text}", file=sys.stderr)
        self._slirp: Any = None
        self._failed = self._closing = self._connected = False
        self._frames: list[bytes] = []
        self._thread: threading.Thread | None = None
        try:
            for forward in settings.forwards:
                self.add_forward(forward)
        except OptionError:
            self.close()
            raise

    @property
    def description(self) -> str:
        """See NetBackend."""
        restricted = "on" if self.settings.restricted else "off"
        forwards = "".join(f",hostfwd={forward}" for forward in self.forwards)
        return f"type=user,net={self.settings.network},restrict={restricted}{forwards}"

    def send(self, frame: bytes) -> Sequence[bytes]:
        """See NetBackend."""
        if self._slirp is None and not self._start_for_guest():
            return ()
        self._library.lib.slirp_input(self._slirp, frame, len(frame))
        self._prepare()
        return self._take_frames()

    def _take_frames(self) -> Sequence[bytes]:
        frames, self._frames = self._frames, []
        return frames

    def _start_for_guest(self) -> bool:
        if self._failed or self._closing:
            return False
        try:
            self._start()
        except OptionError as error:
            self._failed = True
            self.on_problem(f"{self.name}: {error}")
            return False
        return True

    def add_forward(self, forward: Forward) -> None:
        """Let a port of the host lead into the guest. OptionError where it cannot be listened at."""
        self._start()
        ffi, lib, _ = self._library
        host = self._address(forward.host or "127.0.0.1")
        guest = self._address(forward.guest or str(self._dhcp_start))
        result = lib.slirp_add_hostfwd(
            self._slirp, forward.udp, host, forward.host_port, guest, forward.guest_port
        )
        if result < 0:
            raise OptionError(f"'{forward}' cannot be forwarded: {os.strerror(ffi.errno)}")
        self.forwards.append(forward)
        self._prepare()

    def remove_forward(self, *, udp: bool, host: str, host_port: int) -> bool:
        """Listen at that port of the host no more; False when nothing was forwarded from there."""
        for forward in self.forwards:
            if (forward.udp, forward.host or "127.0.0.1", forward.host_port) == (udp, host, host_port):
                self._library.lib.slirp_remove_hostfwd(self._slirp, udp, self._address(host), host_port)
                self.forwards.remove(forward)
                self._prepare()
                return True
        return False

    def connections(self) -> str:
        """The connections and forwards at the moment, a table as libslirp makes it."""
        if self._slirp is None:
            return ""
        ffi, lib, libc = self._library
        # allocated with g_malloc, which is malloc since GLib 2.46
        text = lib.slirp_connection_info(self._slirp)
        result: str = ffi.string(text).decode(errors="replace")
        libc.free(text)
        return result

    def close(self) -> None:
        """See NetBackend."""
        self._closing = True
        if self._slirp is None:
            return
        self._wake()
        if self._thread is not None:
            self._thread.join()
        slirp, self._slirp = self._slirp, None
        self._library.lib.slirp_cleanup(slirp)
        self._epoll.close()
        self._wake_sender.close()
        self._wake_receiver.close()

    # -- libslirp ----------------------------------------------------------------------------------

    def _start(self) -> None:
        if self._slirp is not None:
            return
        self._library = slirp_library()
        self._wake_receiver, self._wake_sender = socket.socketpair()
        self._wake_receiver.setblocking(False)
        self._wake_sender.setblocking(False)
        self._timers: dict[int, tuple[int, Any, int | None]] = {}
        #: sockets in the order in which libslirp told of them, and what it waits for
        self._wanted: list[tuple[int, int]] = []
        #: what the kernel waits for, by socket, until it has come
        self._armed: dict[int, int] = {}
        self._known: set[int] = set()
        #: what has come, by socket
        self._ready: dict[int, int] = {}
        self._epoll = select.epoll()
        self._epoll.register(self._wake_receiver, select.EPOLLIN)
        self._timeout = self._library.ffi.new("uint32_t *")
        self._wait = _LONGEST_WAIT
        self._make_callbacks()
        config = self._configuration()
        self._slirp = self._library.lib.slirp_new(config, self._callbacks, self._library.ffi.NULL)
        if not self._slirp:
            self._slirp = None
            raise OptionError("libslirp could not make the user network")
        self._prepare()
        if self._connected:
            self._start_thread()

    def connected(self) -> None:
        """See NetBackend."""
        self._connected = True
        if self._slirp is not None and self._thread is None:
            self._start_thread()

    def _start_thread(self) -> None:
        self._thread = threading.Thread(target=self._serve, name=self.name, daemon=True)
        self._thread.start()

    def _address(self, text: str) -> Any:
        """A ``struct in_addr`` in network byte order."""
        number = int.from_bytes(IPv4Address(text).packed, sys.byteorder)
        return self._library.ffi.new("struct in_addr *", {"s_addr": number})[0]

    def _configuration(self) -> Any:
        ffi, settings = self._library.ffi, self.settings
        network = IPv4Network(settings.network)
        self._dhcp_start = IPv4Address(settings.dhcp_start or network[15])
        config = ffi.new("SlirpConfig *")
        config.version = CONFIG_VERSION
        config.restricted = settings.restricted
        config.in_enabled = True
        config.vnetwork = self._address(str(network.network_address))
        config.vnetmask = self._address(str(network.netmask))
        config.vhost = self._address(settings.gateway or str(network[2]))
        config.vnameserver = self._address(settings.dns or str(network[3]))
        config.vdhcp_start = self._address(str(self._dhcp_start))
        if settings.ipv6:
            config.in6_enabled = True
            # the site-local prefix that QEMU has: fec0::/64, gateway fec0::2, name server fec0::3
            for place, last in ((config.vprefix_addr6, 0), (config.vhost6, 2), (config.vnameserver6, 3)):
                place.s6_addr[0], place.s6_addr[1], place.s6_addr[15] = 0xFE, 0xC0, last
            config.vprefix_len = 64
        # libslirp copies the names, but not the list of search domains before it is used
        self._texts = [ffi.new("char[]", domain.encode()) for domain in settings.search]
        for name, text in (
            ("vhostname", settings.hostname),
            ("vdomainname", settings.domain),
            ("tftp_path", settings.tftp),
            ("tftp_server_name", settings.tftp_name),
            ("bootfile", settings.boot_file),
        ):
            if text:
                self._texts.append(ffi.new("char[]", text.encode()))
                setattr(config, name, self._texts[-1])
        if settings.search:
            self._search = ffi.new("char *[]", [*self._texts[: len(settings.search)], ffi.NULL])
            config.vdnssearch = ffi.cast("const char **", self._search)
        return config

    def _make_callbacks(self) -> None:
        ffi = self._library.ffi
        timers, wanted = self._timers, self._wanted

        def send_packet(data: Any, length: int, opaque: Any) -> int:
            self._frames.append(ffi.buffer(data, length)[:])
            return length

        def new_timer(timer: int, argument: Any, opaque: Any) -> Any:
            number = max(timers, default=0) + 1
            timers[number] = (timer, argument, None)
            return ffi.cast("void *", number)

        def free_timer(timer: Any, opaque: Any) -> None:
            timers.pop(int(ffi.cast("uintptr_t", timer)), None)

        def set_timer(timer: Any, expires: int, opaque: Any) -> None:
            number = int(ffi.cast("uintptr_t", timer))
            timers[number] = (*timers[number][:2], expires)

        def add_poll(fd: int, events: int, opaque: Any) -> int:
            wanted.append((fd, _TO_POLL[events]))
            return len(wanted) - 1

        def get_events(index: int, opaque: Any) -> int:
            return _from_poll(self._ready.get(wanted[index][0], 0))

        def nothing(*arguments: Any) -> None:
            pass

        members: dict[str, tuple[str, Callable[..., Any]]] = {
            "send_packet": ("ssize_t(const void *, size_t, void *)", send_packet),
            # what the guest sends may be anything; libslirp has dropped it
            "guest_error": ("void(const char *, void *)", nothing),
            "clock_get_ns": ("int64_t(void *)", lambda opaque: time.monotonic_ns()),
            "timer_free": ("void(void *, void *)", free_timer),
            "timer_mod": ("void(void *, int64_t, void *)", set_timer),
            "register_poll_fd": ("void(int, void *)", nothing),
            "unregister_poll_fd": ("void(int, void *)", nothing),
            "notify": ("void(void *)", nothing),
            "init_completed": ("void(Slirp *, void *)", nothing),
            "timer_new_opaque": ("void *(int, void *, void *)", new_timer),
        }
        # cffi's callbacks live as long as they are referenced
        self._kept = {name: ffi.callback(kind, function) for name, (kind, function) in members.items()}
        self._callbacks = ffi.new("SlirpCb *", self._kept)
        self._add_poll = ffi.callback("int(int, int, void *)", add_poll)
        self._get_events = ffi.callback("int(int, void *)", get_events)

    # -- waiting -------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        """Have everything waited for that libslirp waits for now."""
        timeout = self._timeout
        timeout[0] = _LONGEST_WAIT
        self._wanted.clear()
        self._library.lib.slirp_pollfds_fill(self._slirp, timeout, self._add_poll, self._library.ffi.NULL)
        epoll, armed, known = self._epoll, self._armed, self._known
        for fd, events in self._wanted:
            if armed.get(fd) != events:
                # disarmed by what comes, until this is called again
                events_once = events | select.EPOLLONESHOT
                try:
                    (epoll.modify if fd in known else epoll.register)(fd, events_once)
                except FileNotFoundError:  # closed, which the kernel forgets it by, and opened again
                    epoll.register(fd, events_once)
                except FileExistsError:
                    epoll.modify(fd, events_once)
                known.add(fd)
                armed[fd] = events
        if len(armed) > len(self._wanted):
            for fd in armed.keys() - {fd for fd, _ in self._wanted}:
                del armed[fd]
                known.discard(fd)
                with suppress(OSError):  # it may be closed
                    epoll.unregister(fd)
        wait = max(min(timeout[0], self._next_timer()), _SHORTEST_WAIT)
        before, self._wait = self._wait, wait
        if wait < before:
            self._wake()

    def _wake(self) -> None:
        with suppress(BlockingIOError):  # full: it is awake
            self._wake_sender.send(b"\0")

    def _serve(self) -> None:
        """The thread."""
        wake = self._wake_receiver
        while not self._closing:
            events = self._epoll.poll(self._wait / 1000)
            if len(events) == 1 and events[0][0] == wake.fileno():
                wake.recv(4096)
            else:
                self.post(partial(self._came, events))

    def _came(self, events: Sequence[tuple[int, int]]) -> None:
        """Something came to the host's sockets, or nothing in time: on the machine's thread."""
        if self._slirp is None:
            return
        for fd, _ in events:
            self._armed.pop(fd, None)
        self._ready = dict(events)
        lib = self._library.lib
        lib.slirp_pollfds_poll(self._slirp, 0, self._get_events, self._library.ffi.NULL)
        self._run_timers()
        self._prepare()
        self.deliver(self._take_frames())

    def _next_timer(self) -> int:
        """Milliseconds until the next timer is due."""
        now = time.monotonic_ns() // 1_000_000
        return max(
            0,
            min((due - now for _, _, due in self._timers.values() if due is not None), default=_LONGEST_WAIT),
        )

    def _run_timers(self) -> None:
        now = time.monotonic_ns() // 1_000_000
        for number, (timer, argument, due) in list(self._timers.items()):
            if due is not None and due <= now:
                self._timers[number] = (timer, argument, None)
                self._library.lib.slirp_handle_timer(self._slirp, timer, argument)

"""Linux's s3c2410_udc and g_ether in the guest, and our host at the other end of the cable.

The host sets the gadget up as a PC does; then the guest's ``ping`` over usb0 is answered by a few lines of
ARP and ICMP here, so Ethernet frames go through the bulk endpoints both ways.
"""

import struct
from collections.abc import Callable

import pytest

from dbgemu.target.usb.host_jobs import Job, Outcome
from tests.linux_guest import LinuxGuest

MODULES = (
    "fs/configfs/configfs",
    "drivers/usb/gadget/libcomposite",
    "drivers/usb/gadget/function/u_ether",
    "drivers/usb/gadget/function/usb_f_ecm",
    "drivers/usb/gadget/function/usb_f_ecm_subset",
    "drivers/usb/gadget/function/usb_f_rndis",
    "drivers/usb/gadget/legacy/g_ether",
)
GUEST_MAC, HOST_MAC = bytes.fromhex("02000a010102"), bytes.fromhex("02000a010101")
GUEST_IP, HOST_IP = bytes((10, 1, 1, 2)), bytes((10, 1, 1, 1))
ECM = 1
GET_STATUS, SET_INTERFACE, SET_PACKET_FILTER = 0, 11, 0x43


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def answer(frame: bytes) -> bytes | None:
    """What 10.1.1.1 says to a frame: who it is (ARP), and the echo of a ping."""
    kind = frame[12:14]
    if kind == b"\x08\x06" and frame[20:22] == b"\0\1" and frame[38:42] == HOST_IP:
        arp = frame[14:20] + b"\0\2" + HOST_MAC + HOST_IP + frame[22:32]
        return frame[6:12] + HOST_MAC + kind + arp
    if kind == b"\x08\0" and frame[23] == 1 and frame[34] == 8:
        length = struct.unpack(">H", frame[16:18])[0]
        body = b"\0\0\0\0" + frame[38 : 14 + length]
        body = body[:2] + struct.pack(">H", checksum(body + bytes(len(body) & 1))) + body[4:]
        return frame[6:12] + HOST_MAC + frame[12:26] + HOST_IP + frame[26:30] + body
    return None


class Peer:
    """A computer on the gadget's network: reads each frame that comes and sends what it answers."""

    def __init__(self, guest: LinuxGuest) -> None:
        self.cable = guest.machine.board.usb_cable
        self.frames: list[bytes] = []
        self.listen()

    def listen(self) -> None:
        self.cable.bulk_in(1, 2048).on_done = self.received

    def received(self, job: Job) -> None:
        if job.outcome is not Outcome.DONE:
            return
        self.frames.append(job.data)
        reply = answer(job.data)
        if reply is not None:
            self.cable.bulk_out(2, reply, zero=True)
        self.listen()


def finish(guest: LinuxGuest, start: Callable[[], Job]) -> Job:
    """Run the guest until the transfer that ``start`` begins has ended."""
    job = start()
    for _ in range(1000):
        if job.done:
            return job
        guest.machine.run(1_000_000)
    raise AssertionError(f"still {job.outcome}")


@pytest.fixture(scope="module")
def guest() -> LinuxGuest:
    """A guest with g_ether, set up by the host."""
    guest = LinuxGuest()
    guest.boot()
    guest.command("A=/lib/modules/$(uname -r)/kernel")
    for name in MODULES:
        options = " dev_addr=02:00:0a:01:01:02 host_addr=02:00:0a:01:01:01" if "g_ether" in name else ""
        assert "insmod: can" not in guest.command(f"insmod $A/{name}.ko{options}")
    board = guest.machine.board
    board.usb_cable.plug()
    guest.command("sleep 1")
    assert board.usb_cable.ready
    return guest


def test_the_host_reads_the_descriptors_and_configures_the_gadget(guest: LinuxGuest) -> None:
    cable = guest.machine.board.usb_cable
    assert cable.view.device[8:12] == bytes.fromhex("2505a2a4")
    assert cable.view.strings["product"] == "RNDIS/Ethernet Gadget"
    assert "s3c2410_udc" in cable.view.strings["manufacturer"]
    assert cable.configuration == ECM, "RNDIS, the first, is not what a PC takes"
    assert cable.address == guest.machine.board.usb_device.address == 5
    assert [(view.address, view.kind) for view in cable.endpoints] == [
        (0x83, "interrupt"),
        (0x81, "bulk"),
        (0x02, "bulk"),
    ]
    assert guest.command("cat /sys/class/udc/*/state").strip() == "configured"


def test_control_requests_are_answered_and_wrong_ones_refused(guest: LinuxGuest) -> None:
    cable = guest.machine.board.usb_cable
    status = finish(guest, lambda: cable.control(0x80, GET_STATUS, 0, 0, 2))
    assert status.result() == b"\1\0", "self-powered"
    assert finish(guest, lambda: cable.control(0x80, 6, 0x0F00, 0, 64)).outcome is Outcome.STALLED
    assert finish(guest, lambda: cable.control(0x80, 6, 0x0100, 0, 18)).result() == cable.view.device
    # no data stage, and a driver that never says that it is done
    assert finish(guest, lambda: cable.control(0x21, SET_PACKET_FILTER, 0xC, 0)).outcome is Outcome.DONE
    assert finish(guest, lambda: cable.control(0x21, 0x77, 0, 0)).outcome is Outcome.STALLED
    assert finish(guest, lambda: cable.control(0x80, GET_STATUS, 0, 0, 2)).result() == b"\1\0"


def test_pings_go_out_and_their_answers_come_in(guest: LinuxGuest) -> None:
    cable = guest.machine.board.usb_cable
    assert finish(guest, lambda: cable.control(0x01, SET_INTERFACE, 1, 1)).outcome is Outcome.DONE
    peer = Peer(guest)
    guest.command("ifconfig usb0 10.1.1.2 up")
    printed = guest.command("ping -c 3 10.1.1.1")
    assert "3 packets transmitted, 3 packets received, 0% packet loss" in printed
    assert all(frame[6:12] == GUEST_MAC for frame in peer.frames)
    printed = guest.command("ping -c 2 -s 1400 10.1.1.1")
    assert "2 packets received" in printed
    assert max(map(len, peer.frames)) == 14 + 20 + 8 + 1400
    counters = guest.command("ifconfig usb0")
    assert "errors:0" in counters
    assert "RX packets:6 " in counters, "one ARP and five ICMP answers"


def test_the_link_is_reported_by_the_interrupt_endpoint(guest: LinuxGuest) -> None:
    cable = guest.machine.board.usb_cable
    notice = finish(guest, lambda: cable.interrupt_in(3, 16)).result()
    assert notice[:2] == b"\xa1\0", "NETWORK_CONNECTION"


def test_a_cable_that_is_pulled_and_put_in_again_sets_the_gadget_up_again(guest: LinuxGuest) -> None:
    board = guest.machine.board
    board.usb_cable.unplug()
    guest.command("sleep 1")
    assert not board.usb_cable.ready
    assert guest.command("cat /sys/class/udc/*/state").strip() in ("configured", "suspended")
    board.usb_cable.plug()
    guest.command("sleep 1")
    assert board.usb_cable.ready
    cable = board.usb_cable
    assert finish(guest, lambda: cable.control(0x01, SET_INTERFACE, 1, 1)).outcome is Outcome.DONE
    peer = Peer(guest)
    assert "2 packets received" in guest.command("ping -c 2 10.1.1.1")
    assert peer.frames


def test_rndis_is_there_for_who_prefers_it(guest: LinuxGuest) -> None:
    """Its messages are data stages of control requests, both ways."""
    cable = guest.machine.board.usb_cable
    cable.preferred = 2
    cable.reset_bus()
    guest.command("sleep 1")
    assert (cable.ready, cable.configuration) == (True, 2)
    initialize = struct.pack("<6I", 2, 24, 77, 1, 0, 0x4000)
    sent = finish(guest, lambda: cable.control(0x21, 0, 0, 0, initialize))
    assert sent.outcome is Outcome.DONE
    answered = finish(guest, lambda: cable.control(0xA1, 1, 0, 0, 1025)).result()
    assert struct.unpack_from("<5I", answered) == (0x80000002, 52, 77, 0, 1)

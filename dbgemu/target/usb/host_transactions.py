"""One transaction of a host at a time: what is sent next for a transfer, and what the answer means."""

from __future__ import annotations

from dbgemu.target.usb.host_jobs import WAITING, Job, Outcome, Pipe
from dbgemu.target.usb.wire import Answer, DeviceSide, Packet

FRAME_NS = 1_000_000
#: how soon a host asks again who said NAK
RETRY_NS = 20_000
#: a byte at 12 Mb/s; what token, packet headers, handshake and gaps take, in bytes (USB 2.0 chapter 5.8.4)
BYTE_NS, OVERHEAD = 667, 13
#: transactions without any answer, after which a host gives up (10.2.6)
STRIKES = 3

SETUP, DATA, STATUS = 0, 1, 2


def next_frame(now: int) -> int:
    """When the frame after that of ``now`` begins, in ns."""
    return (now // FRAME_NS + 1) * FRAME_NS


def attempt(device: DeviceSide, address: int, pipe: Pipe, now: int) -> int:
    """Do the next transaction of the pipe's first job; the ns that it took.

    Sets the job's outcome when that ends it, and when the pipe is due again.
    """
    job = pipe.jobs[0]
    pipe.last = now
    if job.kind == "control":
        answer, size = _control(device, address, pipe, job)
    elif job.kind == "isochronous":
        answer, size = _isochronous(device, address, pipe, job)
    elif job.endpoint & 0x80:
        answer, size = _in(device, address, pipe, job)
    else:
        answer, size = _out(device, address, pipe, job)
    took = (size + OVERHEAD) * BYTE_NS
    pipe.due = now + took
    if answer is Answer.NAK:
        pipe.due = WAITING
    elif answer is Answer.STALL:
        job.outcome = Outcome.STALLED
    elif answer is Answer.NONE:
        job.failures += 1
        pipe.due = now + FRAME_NS
        if job.failures >= STRIKES:
            job.outcome = Outcome.GONE
    else:
        job.failures = 0
        if job.kind == "isochronous":
            pipe.due = next_frame(now)
        elif job.kind == "interrupt":
            pipe.due = now + pipe.interval * FRAME_NS
    return took


def _take(device: DeviceSide, address: int, pipe: Pipe) -> tuple[Answer, bytes | None]:
    """IN: what came, or None for a packet that came before."""
    got = device.take(address, pipe.endpoint & 0x7F)
    if isinstance(got, Answer):
        return got, None
    if got.toggle != pipe.toggle:
        return Answer.ACK, None
    pipe.toggle ^= 1
    return Answer.ACK, got.data


def _in(device: DeviceSide, address: int, pipe: Pipe, job: Job) -> tuple[Answer, int]:
    answer, data = _take(device, address, pipe)
    if data is None:
        return answer, 0
    job.incoming += data
    if len(data) < pipe.packet or len(job.incoming) >= job.length:
        job.outcome = Outcome.DONE
    return answer, len(data)


def _out(device: DeviceSide, address: int, pipe: Pipe, job: Job) -> tuple[Answer, int]:
    data = job.outgoing[job.sent : job.sent + pipe.packet]
    answer = device.give(address, pipe.endpoint, Packet(pipe.toggle, data))
    if answer is Answer.ACK:
        pipe.toggle ^= 1
        job.sent += len(data)
        if job.sent == len(job.outgoing) and not (job.zero and len(data) == pipe.packet):
            job.outcome = Outcome.DONE
    return answer, len(data)


def _isochronous(device: DeviceSide, address: int, pipe: Pipe, job: Job) -> tuple[Answer, int]:
    if not job.endpoint & 0x80:
        data = job.outgoing[job.sent : job.sent + pipe.packet]
        answer = device.give(address, pipe.endpoint, Packet(0, data))
        job.sent += len(data)
        job.packets.append(len(data))
        if job.sent == len(job.outgoing):
            job.outcome = Outcome.DONE
        return answer, len(data)
    got = device.take(address, pipe.endpoint & 0x7F)
    if isinstance(got, Answer):
        return got, 0
    job.incoming += got.data
    job.packets.append(len(got.data))
    if len(job.packets) >= job.length:
        job.outcome = Outcome.DONE
    return Answer.ACK, len(got.data)


def _control(device: DeviceSide, address: int, pipe: Pipe, job: Job) -> tuple[Answer, int]:
    """A control transfer: SETUP, then data in its direction, then status in the other (8.5.3)."""
    to_host = bool(job.setup[0] & 0x80)
    if job.stage == SETUP:
        answer = device.setup(address, job.setup)
        if answer is Answer.ACK:
            pipe.toggle = 1
            job.stage = DATA if job.length and (to_host or job.outgoing) else STATUS
        return answer, 8
    if job.stage == DATA and to_host:
        answer, data = _take(device, address, pipe)
        if data is None:
            return answer, 0
        job.incoming += data
        if len(data) < pipe.packet or len(job.incoming) >= job.length:
            job.stage = STATUS
        return answer, len(data)
    if job.stage == DATA:
        chunk = job.outgoing[job.sent : job.sent + pipe.packet]
        answer = device.give(address, 0, Packet(pipe.toggle, chunk))
        if answer is Answer.ACK:
            pipe.toggle ^= 1
            job.sent += len(chunk)
            if job.sent == len(job.outgoing):
                job.stage = STATUS
        return answer, len(chunk)
    if to_host and job.length:
        answer = device.give(address, 0, Packet(1, b""))
    else:
        got = device.take(address, 0)
        answer = got if isinstance(got, Answer) else Answer.ACK
    if answer is Answer.ACK:
        job.outcome = Outcome.DONE
    return answer, 0

"""Sound of the Linux guest: its UDA134x driver through DMA and IIS, and its beeper; heard on the host.

/dev/dsp is never closed: this kernel's s3c24xx-dma driver follows a null pointer when a stream is closed
(s3c24xx_dma_tx_status() of a terminated transfer), on any hardware.
"""

import struct
import wave
from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest
from linux_guest import LinuxGuest
from linux_programs import install
from tones import Tape, Tone, is_tone

from dbgemu.host.audio import WavBackend

#: what the clocks make of 44100 Hz: PCLK / 384 / 3
CD_RATE = 50_625_000 / 384 / 3

#: As aplay does: 16 bits, stereo, 44100 Hz; for ever square waves of 100 samples on the left, 50 on the right
PLAYER = """
    adr r0, device
    mov r1, #1
    mov r7, #5                  @ open
    svc #0
    mov r8, r0
    ldr r1, =0xc0045005         @ SNDCTL_DSP_SETFMT: AFMT_S16_LE
    mov r2, #0x10
    bl set
    ldr r1, =0xc0045006         @ SNDCTL_DSP_CHANNELS
    mov r2, #2
    bl set
    ldr r1, =0xc0045002         @ SNDCTL_DSP_SPEED
    ldr r2, =44100
    bl set
    ldr r4, =0x18000
    mov r5, #0
fill:
    ldr r1, =8000
    ldr r2, =-8000
    cmp r5, #50
    movlt r0, r1
    movge r0, r2
    strh r0, [r4], #2
    mov r3, r5
    cmp r3, #50
    subge r3, r3, #50
    cmp r3, #25
    movlt r0, r1
    movge r0, r2
    strh r0, [r4], #2
    add r5, r5, #1
    cmp r5, #100
    blt fill
again:
    mov r0, r8
    ldr r1, =0x18000
    mov r2, #400
    mov r7, #4                  @ write
    svc #0
    b again
set:
    adr r3, argument
    str r2, [r3]
    mov r2, r3
    mov r0, r8
    mov r7, #54                 @ ioctl
    svc #0
    bx lr
argument: .word 0
device: .asciz "/dev/dsp"
"""
#: Sets the volume, in percent, left and right
MIXER = """
    adr r0, device
    mov r1, #2
    mov r7, #5
    svc #0
    ldr r1, =0xc0044d00         @ SOUND_MIXER_WRITE_VOLUME
    adr r2, argument
    mov r7, #54
    svc #0
    mov r7, #1                  @ exit
    svc #0
argument: .word 0x3232
device: .asciz "/dev/mixer"
"""


@pytest.fixture(scope="module")
def guest() -> Iterator[LinuxGuest]:
    guest = LinuxGuest()
    guest.boot()
    guest.command("stty cols 500")
    yield guest


def run_for(guest: LinuxGuest, seconds: float) -> None:
    clock = guest.machine.board.clock
    end = clock.now + seconds * 1e9
    while clock.now < end:
        guest.machine.run(1_000_000)


def test_the_driver_finds_the_codec(guest: LinuxGuest) -> None:
    assert "S3C24XX_UDA134X" in guest.command("cat /proc/asound/cards")
    assert guest.machine.board.codec.EXTENDED2 == 4


def test_what_the_guest_plays_is_in_the_wav_file(guest: LinuxGuest, tmp_path: Path) -> None:
    board, path = guest.machine.board, tmp_path / "out.wav"
    install(guest, "/tmp/player", PLAYER)
    backend = WavBackend(path, None, 44100)
    board.connect_audio(backend.sink)
    begin = board.clock.now
    guest.command("/tmp/player &")
    run_for(guest, 2)
    seconds = (board.clock.now - begin) / 1e9
    # the file is complete at any moment
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, 44100)
        samples = array("h", file.readframes(file.getnframes()))
    assert len(samples) / 2 / 44100 == pytest.approx(seconds, abs=0.4)
    left, right = samples[::2][-44100:], samples[1::2][-44100:]
    assert is_tone(left, 44100, CD_RATE / 100, 0.002)
    assert is_tone(right, 44100, CD_RATE / 50, 0.002)
    assert max(left) == 8000
    assert board.iis._transmit.underruns == 0
    board.connect_audio(None)
    backend.close()


def test_the_mixer_sets_the_codecs_volume(guest: LinuxGuest) -> None:
    board, tape = guest.machine.board, Tape()
    install(guest, "/tmp/mixer", MIXER)
    guest.command("/tmp/mixer")
    volume = board.codec.VOLUME
    assert 25 < volume < 38, "half of the scale"
    board.connect_audio(tape)
    run_for(guest, 0.5)
    assert max(tape.left) == pytest.approx(8000 * 10 ** ((1 - volume) / 20), abs=2)
    board.connect_audio(None)


def test_what_the_guest_records_is_the_tone_that_is_there(guest: LinuxGuest) -> None:
    # the driver lets both directions have one rate only, that of the player: OSS converts it
    rate = CD_RATE / 44100 * 8000
    guest.machine.board.connect_audio(None, Tone(440))
    printed = guest.command("exec 4</dev/dsp; dd bs=4096 count=4 of=/tmp/recorded <&4")
    assert "4+0 records in" in printed
    text = guest.command('hexdump -v -e \'32/1 "%u " "\\n"\' /tmp/recorded')
    samples = [int(word) for word in text.split() if word.isdigit()]
    assert len(samples) == 16384
    assert is_tone(samples[1000:], round(rate), 440)
    assert not is_tone(samples[1000:], round(rate), 460)
    assert guest.machine.board.iis._receive.overruns == 0


def test_the_beeper_is_heard_as_a_square_wave_and_then_no_more(guest: LinuxGuest) -> None:
    board, tape = guest.machine.board, Tape()
    # the stream of the test before has been playing silently: what sounds now is the beeper alone
    board.codec.VOLUME = 63
    board.connect_audio(tape)

    def event(tone: int) -> str:
        data = struct.pack("<IIHHI", 0, 0, 0x12, 2, tone)  # EV_SND, SND_TONE
        return "".join(f"\\{byte:03o}" for byte in data)

    guest.command(f"printf '{event(880)}' > /dev/input/event1")
    run_for(guest, 0.5)
    # the driver's tick is 39 ns, cut down from 39.5
    heard = 25_312_500 / (10**9 // 880 // 39)
    assert board.buzzer.frequency == int(heard)
    guest.command(f"printf '{event(0)}' > /dev/input/event1")
    run_for(guest, 0.2)
    sound = tape.left
    begin = next(place for place, sample in enumerate(sound) if sample)
    assert is_tone(sound[begin : begin + 20000], 44100, heard, 0.002)
    assert max(sound) == 0x2000
    assert not any(sound[-2000:])
    board.connect_audio(None)


def test_nothing_went_wrong(guest: LinuxGuest) -> None:
    assert "Oops" not in guest.text
    assert "xrun" not in guest.text

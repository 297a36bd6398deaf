"""Sound on the host: WAV files, the sound device, and the option that chooses."""

import os
import signal
import subprocess
import sys
import types
import wave
from array import array
from pathlib import Path

import pytest
from tones import Tone, is_tone

from dbgemu.cli import main
from dbgemu.emulator import Emulator
from dbgemu.errors import OptionError
from dbgemu.host.audio import DeviceBackend, WavBackend, WavReader
from dbgemu.option_audio import AudioOptions, audio_options, open_audio
from dbgemu.options import parse_command_line


def write_wav(path: Path, samples: bytes, *, rate: int = 8000, channels: int = 1, width: int = 2) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(samples)


@pytest.mark.parametrize(
    ("argument", "options"),
    [
        ("none", AudioOptions()),
        ("none,id=a0", AudioOptions()),
        ("wav,id=a0,path=x.wav", AudioOptions("wav", Path("x.wav"))),
        ("driver=wav,path=x.wav,out.frequency=48000", AudioOptions("wav", Path("x.wav"), rate=48000)),
        ("wav", AudioOptions("wav", Path("dbgemu.wav"))),
        ("wav,in=y.wav", AudioOptions("wav", None, Path("y.wav"))),
        ("wav,path=x.wav,in=y.wav", AudioOptions("wav", Path("x.wav"), Path("y.wav"))),
        ("pa,id=snd", AudioOptions("host")),
    ],
)
def test_qemus_spelling_is_understood(argument: str, options: AudioOptions) -> None:
    assert audio_options(argument) == options
    assert parse_command_line(["-demo", "-audiodev", argument]).audio == options


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("waw", "'waw' takes no sound: did you mean wav?"),
        ("", "'' takes no sound: none, wav and host do"),
        ("wav,file=x", "'file=x' is not one of id=, path=, in=, out.frequency="),
        ("none,path=x", "path= is for wav, not for none"),
        ("wav,out.frequency=0", "out.frequency is '0', not a number of Hz from 8000 to 192000"),
    ],
)
def test_a_wrong_argument_is_told_in_one_sentence(argument: str, message: str) -> None:
    with pytest.raises(OptionError) as caught:
        audio_options(argument)
    assert str(caught.value) == message


def test_the_emulator_connects_the_board(tmp_path: Path) -> None:
    path, source = tmp_path / "out.wav", tmp_path / "in.wav"
    write_wav(source, b"\x01\x02" * 4)
    options = parse_command_line(
        ["-demo", "-serial", "null", "-audiodev", f"wav,path={path},in={source},out.frequency=8000"]
    )
    with Emulator(options) as emulator:
        board = emulator.machine.board
        board.codec.play(8000, 2, b"abcd" * 5)
        assert board.codec.record(8000, 2, 2) == b"\x01\x02" * 4
    with wave.open(str(path)) as file:
        assert file.readframes(9) == b"abcd" * 5
    with Emulator(parse_command_line(["-demo", "-serial", "null"])) as emulator:
        assert emulator.machine.board.audio.sink is None


def test_a_wav_file_is_valid_after_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "killed.wav"
    program = (
        "import sys, time; from pathlib import Path; from dbgemu.host.audio import WavWriter\n"
        "w = WavWriter(Path(sys.argv[1]), 8000); w.play(8000, 2, bytes(range(200)) * 40)\n"
        "print('played', flush=True); time.sleep(60)"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", program, path],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"played\n"
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    with wave.open(str(path)) as file:
        assert file.readframes(file.getnframes()) == bytes(range(200)) * 40


def test_a_wav_file_is_recorded_once_at_any_rate(tmp_path: Path) -> None:
    path = tmp_path / "in.wav"
    write_wav(path, Tone(500).record(8000, 1, 8000))
    reader = WavReader(path)
    samples = array("h")
    while len(samples) < 2 * 44100:
        samples.frombytes(reader.record(44100, 2, 441))
    assert samples[::2] == samples[1::2]
    assert is_tone(samples[:80000:2], 44100, 500, 0.002)
    assert not any(array("h", reader.record(44100, 2, 441)))


def test_eight_bit_stereo_is_recorded(tmp_path: Path) -> None:
    path = tmp_path / "in.wav"
    write_wav(path, bytes([0x80, 0xFF] * 10), channels=2, width=1)
    assert list(array("h", WavReader(path).record(8000, 2, 4))) == [0, 0x7F00] * 4


def test_files_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    write_wav(tmp_path / "three.wav", bytes(12), width=3)
    for source, message in (
        ("none.wav", "cannot be read: No such file or directory"),
        ("text", "is not a WAV file of PCM samples"),
        ("three.wav", "has 1 channels of 24 bits: 1 or 2 of 8 or 16 bits are understood"),
    ):
        with pytest.raises(OptionError, match=message):
            WavReader(tmp_path / source)
    with pytest.raises(OptionError, match="cannot be written: No such file or directory"):
        WavBackend(tmp_path / "no" / "x.wav", None, 44100)


def test_a_missing_sound_library_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(OptionError, match="needs the Python package sounddevice"):
        open_audio(audio_options("host"))


class Stream:
    def __init__(self, *, samplerate: int, channels: int, dtype: str, callback: object) -> None:
        self.settings = (samplerate, channels, dtype)
        self.callback = callback
        self.running = False

    def start(self) -> None:
        self.running = True

    def close(self) -> None:
        self.running = False


def test_the_sound_device_pulls_what_was_played_and_pushes_what_it_hears(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    library = types.ModuleType("sounddevice")
    library.RawOutputStream = library.RawInputStream = Stream  # type: ignore[attr-defined]
    library.PortAudioError = OSError  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sounddevice", library)
    backend = DeviceBackend(8000)
    assert backend._out.settings == (8000, 2, "int16")
    backend.play(8000, 2, b"abcd" * 3)
    for expected in (b"abcdabcd", b"abcd\0\0\0\0"):
        buffer = bytearray(8)
        backend._wants(buffer, 2, None, None)
        assert buffer == expected
    backend.play(8000, 2, bytes(100_000))
    assert len(backend._waiting) == 16_000, "half a second"
    assert backend.record(8000, 2, 1) == bytes(4)
    backend._heard(b"heard!!!", 2, None, None)
    assert backend.record(8000, 2, 2) == b"heard!!!"
    backend.close()
    assert not backend._out.running
    assert not backend._in.running


class PortAudioError(Exception):
    """As sounddevice has it."""


def refuse(**settings: object) -> Stream:
    raise PortAudioError("Error querying device -1")


def sound_library(monkeypatch: pytest.MonkeyPatch, *, out: object, into: object) -> None:
    library = types.ModuleType("sounddevice")
    library.RawOutputStream, library.RawInputStream = out, into  # type: ignore[attr-defined]
    library.PortAudioError = PortAudioError  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sounddevice", library)


def test_a_host_without_a_sound_device_is_told_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sound_library(monkeypatch, out=refuse, into=refuse)
    assert main(["-S", "-serial", "null", "-monitor", "null", "-audiodev", "host"]) == 2
    assert capsys.readouterr().err == (
        "dbgemu: the host has no sound device that can be used: Error querying device -1\n"
    )


def test_a_device_without_an_input_gives_silence_and_is_not_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries = []

    def refuse_and_count(**settings: object) -> Stream:
        tries.append(settings)
        return refuse()

    sound_library(monkeypatch, out=Stream, into=refuse_and_count)
    backend = DeviceBackend(8000)
    assert [backend.record(8000, 2, 3) for _ in range(2)] == [bytes(12)] * 2
    assert len(tries) == 1
    backend.close()


def test_an_underflow_is_silence_and_what_comes_then_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    sound_library(monkeypatch, out=Stream, into=Stream)
    backend = DeviceBackend(8000)
    heard = bytearray()
    for played in (b"", b"abcdef", b"", b"ghij"):
        backend.play(8000, 2, played)
        buffer = bytearray(4)
        backend._out.callback(memoryview(buffer), 1, None, "output underflow")
        heard += buffer
    assert heard == b"\0\0\0\0abcdef\0\0ghij"
    backend.close()

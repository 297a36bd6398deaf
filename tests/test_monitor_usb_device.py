"""The monitor's commands about the USB device socket."""

from collections.abc import Iterator

import pytest

from dbgemu.debug.session import DebugSession
from dbgemu.emulator_services import EmulatorServices
from dbgemu.machine import Machine
from dbgemu.monitor.command import CommandError
from dbgemu.monitor.monitor import Monitor
from dbgemu.options import Options
from dbgemu.target.mini2440 import Mini2440


@pytest.fixture
def monitor() -> Iterator[Monitor]:
    session = DebugSession(Machine(Mini2440()))
    services = EmulatorServices(Options(), session)
    yield Monitor(session, services)
    session.close()
    services.close()


def test_the_cable_is_put_in_and_pulled_out(monitor: Monitor) -> None:
    assert monitor.run("info usb_device").text.splitlines()[:4] == [
        "host:",
        "  cable: out",
        "  pull-up on D+: yes",
        "  state: nothing connected",
    ]
    assert monitor.run("usb_cable plug").text == ""
    report = monitor.run("info usb_device")
    assert "  cable: in\n  pull-up on D+: yes\n  state: connecting\n" in report.text
    assert report.data["host"]["cable"] == "in"  # type: ignore[index, call-overload]
    monitor.run("usb_cable unplug")
    assert "cable: out" in monitor.run("info usb_device").text


def test_something_else_to_do_with_a_cable_is_refused(monitor: Monitor) -> None:
    with pytest.raises(CommandError, match=r"^'bend' is not something to do with a cable: plug or unplug$"):
        monitor.run("usb_cable bend")

"""The registers of the USB host controller (S3C2440A UM chapter 12; OpenHCI 1.0a chapter 7)."""

from __future__ import annotations

from dbgemu.target.device import Device
from dbgemu.target.registers import Field, Register

# HcControl
FUNCTIONAL_STATE, USB_RESET, USB_RESUME, OPERATIONAL, SUSPEND = 0xC0, 0x00, 0x40, 0x80, 0xC0
INTERRUPT_ROUTING, REMOTE_WAKEUP = 0x100, 0x200
PERIODIC_ENABLE, ISOCHRONOUS_ENABLE, CONTROL_ENABLE, BULK_ENABLE = 0x04, 0x08, 0x10, 0x20
LIST_ENABLES = PERIODIC_ENABLE | CONTROL_ENABLE | BULK_ENABLE
CONTROL_RATIO = 0x03

# HcCommandStatus
RESET, CONTROL_FILLED, BULK_FILLED, CHANGE_OWNER = 0x1, 0x2, 0x4, 0x8
OVERRUN_COUNT = 0x3_0000

# HcInterruptStatus, -Enable, -Disable
SCHEDULING_OVERRUN, DONE_WRITTEN, START_OF_FRAME, RESUME_DETECTED = 0x01, 0x02, 0x04, 0x08
UNRECOVERABLE, FRAME_OVERFLOW, ROOT_HUB_CHANGE = 0x10, 0x20, 0x40
OWNERSHIP_CHANGE, MASTER_ENABLE = 0x4000_0000, 0x8000_0000
ALL_CAUSES = 0x4000_007F

# HcRhDescriptorA, HcRhStatus
NO_POWER_SWITCHING, PER_PORT_POWER = 0x200, 0x100
REMOTE_WAKEUP_ON, REMOTE_WAKEUP_OFF = 0x8000, 0x8000_0000
GLOBAL_POWER_OFF, GLOBAL_POWER_ON = 0x1, 0x1_0000

# HcRhPortStatus: what they read as; what a write of the same bit does is in the declaration below
CONNECTED, ENABLED, SUSPENDED, OVERCURRENT, RESETTING, POWERED, LOW_SPEED = 1, 2, 4, 8, 0x10, 0x100, 0x200
CONNECT_CHANGED, ENABLE_CHANGED, RESUMED, RESET_DONE = 0x1_0000, 0x2_0000, 0x4_0000, 0x10_0000
PORT_CHANGES = 0x1F_0000
CLEAR_ENABLE, CLEAR_SUSPEND, CLEAR_POWER = 0x1, 0x8, 0x200

ROOT_HUB = ("HcRhDescriptorA", "HcRhDescriptorB", "HcRhStatus", "HcRhPortStatus1", "HcRhPortStatus2")

_CAUSES = (
    Field("OC", 30, doc="ownership change"),
    Field("RHSC", 6, doc="root hub status change"),
    Field("FNO", 5, doc="frame number overflow"),
    Field("UE", 4, doc="unrecoverable error"),
    Field("RD", 3, doc="resume detected"),
    Field("SF", 2, doc="start of frame"),
    Field("WDH", 1, doc="done head written back"),
    Field("SO", 0, doc="scheduling overrun"),
)
_MASTER = Field("MIE", 31, doc="master interrupt enable")
_PORT = (
    Field("PRSC", 20, doc="reset finished"),
    Field("OCIC", 19, doc="over-current changed"),
    Field("PSSC", 18, doc="resume finished"),
    Field("PESC", 17, doc="disabled by the hardware"),
    Field("CSC", 16, doc="connection changed"),
    Field("LSDA", 9, doc="low-speed device; write 1: power off"),
    Field("PPS", 8, doc="powered; write 1: power on"),
    Field("PRS", 4, doc="in reset; write 1: reset"),
    Field("POCI", 3, doc="over-current; write 1: resume"),
    Field("PSS", 2, doc="suspended; write 1: suspend"),
    Field("PES", 1, doc="enabled; write 1: enable"),
    Field("CCS", 0, doc="connected; write 1: disable"),
)


class OhciRegisters(Device):
    """Their declarations; :mod:`dbgemu.target.s3c2440.usb_host` says what they do."""

    title = "USB host controller"

    HcRevision = Register(
        0x00, reset=0x10, access="ro", doc="Revision", fields=(Field("REV", 7, 0, "OpenHCI, in BCD"),)
    )
    HcControl = Register(
        0x04,
        writable=0x7FF,
        doc="Operating modes",
        fields=(
            Field("RWE", 10, doc="remote wake-up enable"),
            Field("RWC", 9, doc="remote wake-up connected"),
            Field("IR", 8, doc="interrupt routing to system management"),
            Field("HCFS", 7, 6, "state", {0: "reset", 1: "resume", 2: "operational", 3: "suspend"}),
            Field("BLE", 5, doc="bulk list enable"),
            Field("CLE", 4, doc="control list enable"),
            Field("IE", 3, doc="isochronous enable"),
            Field("PLE", 2, doc="periodic list enable"),
            Field("CBSR", 1, 0, "control to bulk ratio"),
        ),
    )
    HcCommandStatus = Register(
        0x08,
        doc="Commands",
        fields=(
            Field("SOC", 17, 16, "scheduling overruns"),
            Field("OCR", 3, doc="ownership change request"),
            Field("BLF", 2, doc="bulk list filled"),
            Field("CLF", 1, doc="control list filled"),
            Field("HCR", 0, doc="host controller reset, clears itself"),
        ),
    )
    HcInterruptStatus = Register(0x0C, doc="Interrupt status; write 1 to clear", fields=_CAUSES)
    HcInterruptEnable = Register(0x10, doc="Write 1 to enable", fields=(_MASTER, *_CAUSES))
    HcInterruptDisable = Register(
        0x14, volatile=True, doc="Write 1 to disable; reads as the enable", fields=(_MASTER, *_CAUSES)
    )
    HcHCCA = Register(
        0x18,
        writable=0xFFFF_FF00,
        doc="Communications area, 256 bytes in memory",
        fields=(Field("HCCA", 31, 8, "address bits 31 to 8"),),
    )
    HcPeriodCurrentED = Register(
        0x1C,
        access="ro",
        doc="Present periodic endpoint",
        fields=(Field("PCED", 31, 4, "address bits 31 to 4"),),
    )
    HcControlHeadED = Register(
        0x20,
        writable=0xFFFF_FFF0,
        doc="First control endpoint",
        fields=(Field("CHED", 31, 4, "address bits 31 to 4"),),
    )
    HcControlCurrentED = Register(
        0x24,
        writable=0xFFFF_FFF0,
        doc="Present control endpoint",
        fields=(Field("CCED", 31, 4, "address bits 31 to 4"),),
    )
    HcBulkHeadED = Register(
        0x28,
        writable=0xFFFF_FFF0,
        doc="First bulk endpoint",
        fields=(Field("BHED", 31, 4, "address bits 31 to 4"),),
    )
    HcBulkCurrentED = Register(
        0x2C,
        writable=0xFFFF_FFF0,
        doc="Present bulk endpoint",
        fields=(Field("BCED", 31, 4, "address bits 31 to 4"),),
    )
    HcDoneHead = Register(
        0x30,
        access="ro",
        doc="Last finished transfer descriptor",
        fields=(Field("DH", 31, 4, "address bits 31 to 4"),),
    )
    HcFmInterval = Register(
        0x34,
        reset=0x2EDF,
        writable=0xFFFF_3FFF,
        doc="Frame interval",
        fields=(
            Field("FIT", 31, doc="toggle, changed with FI"),
            Field("FSMPS", 30, 16, "largest data packet, in bits"),
            Field("FI", 13, 0, "bit times in a frame, less 1"),
        ),
    )
    HcFmRemaining = Register(
        0x38,
        access="ro",
        volatile=True,
        doc="Bit times that the frame still has",
        fields=(Field("FRT", 31, doc="toggle"), Field("FR", 13, 0, "bit times")),
    )
    HcFmNumber = Register(
        0x3C,
        access="ro",
        volatile=True,
        doc="Frame number, 16 bits",
        fields=(Field("FN", 15, 0, "frames since the start"),),
    )
    HcPeriodicStart = Register(
        0x40,
        writable=0x3FFF,
        doc="When periodic transfers have priority",
        fields=(Field("PS", 13, 0, "bit times left when periodic transfers begin"),),
    )
    HcLSThreshold = Register(
        0x44,
        reset=0x0628,
        writable=0xFFF,
        doc="Low-speed threshold",
        fields=(Field("LST", 11, 0, "bit times that a low-speed packet needs"),),
    )
    HcRhDescriptorA = Register(
        0x48,
        reset=0x0200_1202,
        writable=0xFF00_1B00,
        doc="Root hub A",
        fields=(
            Field("POTPGT", 31, 24, "power-on to power-good, in 2 ms"),
            Field("NOCP", 12, doc="no over-current protection"),
            Field("OCPM", 11, doc="over-current protection of each port"),
            Field("DT", 10, doc="compound device"),
            Field("NPS", 9, doc="no power switching"),
            Field("PSM", 8, doc="power switching of each port"),
            Field("NDP", 7, 0, "number of ports"),
        ),
    )
    HcRhDescriptorB = Register(
        0x4C,
        doc="Root hub B",
        fields=(Field("PPCM", 31, 16, "port power control mask"), Field("DR", 15, 0, "not removable")),
    )
    HcRhStatus = Register(
        0x50,
        doc="Root hub status",
        fields=(
            Field("CRWE", 31, doc="write 1: no wake-up by connections"),
            Field("OCIC", 17, doc="over-current changed"),
            Field("LPSC", 16, doc="write 1: power on"),
            Field("DRWE", 15, doc="wake-up by connections; write 1 to set"),
            Field("OCI", 1, doc="over-current"),
            Field("LPS", 0, doc="write 1: power off"),
        ),
    )
    HcRhPortStatus1 = Register(0x54, reset=POWERED, doc="Port 1", fields=_PORT)
    HcRhPortStatus2 = Register(0x58, reset=POWERED, doc="Port 2", fields=_PORT)

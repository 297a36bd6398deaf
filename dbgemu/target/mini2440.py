"""The mini2440 board: an S3C2440A, its memories and chips, and which part sits on which pin."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from functools import partial
from typing import Any

from dbgemu.target.arm.state import Mode
from dbgemu.target.audio import AudioSink, AudioSource
from dbgemu.target.audio_mixer import AudioMixer
from dbgemu.target.boot import BootPlan
from dbgemu.target.bus import Bus
from dbgemu.target.chips.at24c08 import At24c08
from dbgemu.target.chips.buttons_leds import BUTTONS, LEDS, Button, Led
from dbgemu.target.chips.buzzer import Buzzer
from dbgemu.target.chips.dm9000 import DEFAULT_ADDRESS, PORTS, Dm9000
from dbgemu.target.chips.flash_array import Backing
from dbgemu.target.chips.lcd_panel import DEFAULT_MODEL, LcdPanel, PanelModel
from dbgemu.target.chips.nand_flash import NandFlash
from dbgemu.target.chips.nand_parts import DEFAULT_PART, NandPart
from dbgemu.target.chips.nor_flash import NorFlash
from dbgemu.target.chips.sd_slot import SdSlot
from dbgemu.target.chips.touch_panel import TouchPanel
from dbgemu.target.chips.uda1341 import Uda1341
from dbgemu.target.clock import PS_PER_SECOND, Timer, VirtualClock
from dbgemu.target.device import Device
from dbgemu.target.guest_log import GuestLog
from dbgemu.target.lines import Line
from dbgemu.target.memory import Memory
from dbgemu.target.s3c2440.ac97 import Ac97
from dbgemu.target.s3c2440.adc import Adc
from dbgemu.target.s3c2440.camera import Camera
from dbgemu.target.s3c2440.clock_gates import ClockGates
from dbgemu.target.s3c2440.clock_power import WAKE_ALARM, ClockPower
from dbgemu.target.s3c2440.dma import Dma
from dbgemu.target.s3c2440.dma_port import DmaPort
from dbgemu.target.s3c2440.gpio import EINT_LINES, Gpio, ResetCause
from dbgemu.target.s3c2440.i2c import I2c
from dbgemu.target.s3c2440.i2s import I2s
from dbgemu.target.s3c2440.interrupt import InterruptController
from dbgemu.target.s3c2440.lcd import LcdController
from dbgemu.target.s3c2440.memory_controller import MemoryController
from dbgemu.target.s3c2440.nand import NandController
from dbgemu.target.s3c2440.pwm import PwmTimers
from dbgemu.target.s3c2440.rtc import Rtc
from dbgemu.target.s3c2440.sdi import Sdi
from dbgemu.target.s3c2440.spi import Spi
from dbgemu.target.s3c2440.uart import Uart
from dbgemu.target.s3c2440.uart_dma import dma_port
from dbgemu.target.s3c2440.uart_registers import FclkDivider
from dbgemu.target.s3c2440.usb_device import UsbDevice
from dbgemu.target.s3c2440.usb_host import UsbHost
from dbgemu.target.s3c2440.watchdog import Watchdog
from dbgemu.target.usb.host_model import UsbHostModel

SDRAM_BASE = 0x30000000
SRAM_SIZE = 4096
#: the chip's blocks that have no power in SLEEP (S3C2440A UM 7, SLEEP mode)
OFF_IN_SLEEP = (
    *("intc", "dma", "lcd", "nand", "camif", "ohci", "udc", "uart0", "uart1", "uart2", "pwm", "wdt"),
    *("i2c", "iis", "adc", "spi", "sdi", "ac97"),
)
#: REFRESH's TREFMD
SELF_REFRESH = 1 << 22
DM9000_BASE = 0x20000000  # nGCS4, from 0x300 on

#: What pins are wired to, for people (schematic); LEDs and buttons say so themselves
WIRED = {
    "GPA15": "DM9000 chip select",
    **{
        f"GPA{n}": f"NAND {name}"
        for n, name in ((17, "CLE"), (18, "ALE"), (19, "nWE"), (20, "nRE"), (22, "nCE"))
    },
    "GPB0": "buzzer",
    "GPB1": "LCD connector, PWM",
    "GPB2": "UDA1341 L3MODE",
    "GPB3": "UDA1341 L3DATA",
    "GPB4": "UDA1341 L3CLOCK",
    **{f"GPC{n}": f"LCD {name}" for n, name in enumerate(("LEND", "VCLK", "VLINE", "VFRAME", "VM"))},
    **{f"GPC{n}": f"LCD VD{n - 8}" for n in range(8, 16)},
    **{f"GPD{n}": f"LCD VD{n + 8}" for n in range(16)},
    "GPC5": "USB device pull-up",
    **{f"GPE{n}": f"UDA1341 {name}" for n, name in enumerate(("WS", "BCK", "SYSCLK", "DATAO", "DATAI"))},
    "GPE5": "SD CLK",
    "GPE6": "SD CMD",
    **{f"GPE{n}": f"SD DAT{n - 7}" for n in range(7, 11)},
    "GPE14": "I2C SCL",
    "GPE15": "I2C SDA",
    "GPF7": "DM9000 INT",
    "GPG4": "LCD backlight",
    "GPG8": "SD card detect",
    **{
        f"GPG{n}": f"NAND configuration, {name}"
        for n, name in ((13, "page size"), (14, "address cycles"), (15, "bus width"))
    },
    **{f"GPH{n}": f"serial port 0 {name}" for n, name in enumerate(("nCTS", "nRTS", "TXD", "RXD"))},
    **{f"GPH{n}": f"serial port {n // 2 - 1} {'RXD' if n & 1 else 'TXD'}" for n in range(4, 8)},
    "GPH8": "SD write protect",
    **{f"GPJ{n}": f"camera D{n}" for n in range(8)},
    **{f"GPJ{n}": f"camera {name}" for n, name in enumerate(("PCLK", "VSYNC", "HREF", "CLKOUT", "RESET"), 8)},
}


class BootSwitch(Enum):
    """The board's switch S2: which chip answers at address 0 (UM table 5-1)."""

    NAND = "nand"  # the steppingstone SRAM, filled from NAND at reset
    NOR = "nor"


class PowerRequest(Enum):
    """What the guest asks of the machine, beyond executing the next instruction."""

    IDLE = "idle"
    SLEEP = "sleep"
    RESET = "reset"


class Mini2440:
    """The board without its CPU: what the CPU sees on its bus, and its interrupt lines.

    ``on_request`` is told what only the machine can do; ``irq`` and ``fiq`` are the CPU's inputs.
    An instruction takes ``period_ps``, or a period of the core clock as the guest sets it.
    """

    def __init__(
        self,
        *,
        memory_size: int = 64 << 20,
        nand_part: NandPart = DEFAULT_PART,
        nand_image: Backing | None = None,
        nor_image: Backing | None = None,
        eeprom_image: Backing | None = None,
        boot_switch: BootSwitch = BootSwitch.NOR,
        rtc_start: int = 0,
        period_ps: int | None = None,
        mac: bytes | None = DEFAULT_ADDRESS,
        panel: PanelModel = DEFAULT_MODEL,
    ) -> None:
        self.log = GuestLog()
        self.clock = VirtualClock(period_ps) if period_ps else VirtualClock()
        self._fixed_period = period_ps is not None
        self.bus = Bus(self.log)
        self.boot_switch = boot_switch
        self.boot_plan: BootPlan | None = None
        #: where the bootloader goes on after a reset that ended SLEEP
        self._resume_at: int | None = None
        self.on_request: Callable[[PowerRequest], None] = lambda request: None
        self.devices: dict[str, Device] = {}
        self.sdram = Memory("sdram", memory_size)
        self.sram = Memory("sram", SRAM_SIZE)
        self._add_chip_blocks(rtc_start, nand_part, nand_image)
        self._add_board_parts(nor_image, eeprom_image, mac)
        self._connect_panel(panel)
        self._map_memories()

    def _source(self, name: str) -> Line:
        return self.intc.source(name)

    def _add(self, device: Device, base: int | None = None) -> None:
        self.devices[device.name] = device
        if base is not None:
            self.bus.map(base, device)

    def _add_chip_blocks(self, rtc_start: int, nand_part: NandPart, nand_image: Backing | None) -> None:
        log, clock, source = self.log, self.clock, self._source
        self.intc = InterruptController(log=log)
        self.irq, self.fiq = self.intc.irq, self.intc.fiq
        self.memc = MemoryController(om=1 if self.boot_switch is BootSwitch.NOR else 0, log=log)
        self.clkpwr = clocks = ClockPower(
            on_idle=lambda: self.on_request(PowerRequest.IDLE),
            on_sleep=self._sleep_requested,
            clock=clock,
            log=log,
        )
        self.gates = ClockGates(clock, self.bus)
        of_block = self.gates.clock
        if not self._fixed_period:
            self._follow_core_clock()
            clocks.on_change.append(self._follow_core_clock)
        self.gpio = Gpio(eint={line: source(line) for line in EINT_LINES}, log=log)
        self.gpio.on_eint = self.clkpwr.wake_event
        source("INT_RTC").connect(lambda level: self.clkpwr.wake_event(WAKE_ALARM if level else 0))
        timer_dma = Line("pwm.DMA")
        timers = [f"INT_TIMER{n}" for n in range(5)]
        self.pwm = PwmTimers(
            clock=of_block("pwm"),
            clocks=clocks,
            interrupts=[source(name) for name in timers],
            dma_request=timer_dma,
            pending=lambda timer: self.intc.pending(timers[timer]),
            log=log,
        )
        for number, name in enumerate(timers):
            self.intc.when_cleared(name, partial(self.pwm.cleared, number))
        divider = FclkDivider()  # the three ports' UCON hold one setting
        self.uarts = [
            Uart(
                f"uart{n}",
                clock=of_block(f"uart{n}"),
                clocks=clocks,
                rxd=source(f"INT_RXD{n}"),
                txd=source(f"INT_TXD{n}"),
                err=source(f"INT_ERR{n}"),
                log=log,
                port=n,
                divider=divider,
            )
            for n in range(3)
        ]
        self.wdt = Watchdog(
            clock=of_block("wdt"),
            clocks=clocks,
            interrupt=source("INT_WDT"),
            on_reset=self._watchdog_reset,
            log=log,
        )
        self.rtc = Rtc(
            clock=clock, alarm=source("INT_RTC"), tick=source("INT_TICK"), start=rtc_start, log=log
        )
        self.nand_chip = NandFlash(clock=clock, part=nand_part, backing=nand_image, log=log)
        self.nand = NandController(chip=self.nand_chip, irq=source("INT_NFCON"), log=log)
        self.i2c = I2c("i2c", clock=of_block("i2c"), clocks=clocks, interrupt=source("INT_IIC"), log=log)
        self.sdi = Sdi("sdi", clock=of_block("sdi"), clocks=clocks, interrupt=source("INT_SDI"), log=log)
        self.usb_host = UsbHost(
            "ohci", clock=of_block("ohci"), interrupt=source("INT_USBH"), bus=self.bus, log=log
        )
        self.usb_device = UsbDevice("udc", clock=of_block("udc"), interrupt=source("INT_USBD"), log=log)
        self.adc = Adc(
            "adc",
            clock=of_block("adc"),
            clocks=clocks,
            conversion_done=source("INT_ADC_S"),
            pen_moved=source("INT_TC"),
            log=log,
        )
        self.lcd = LcdController(
            "lcd", clock=of_block("lcd"), clocks=clocks, interrupt=source("INT_LCD"), bus=self.bus, log=log
        )
        self.spi = Spi(
            "spi",
            clock=of_block("spi"),
            clocks=clocks,
            interrupts=[source("INT_SPI0"), source("INT_SPI1")],
            log=log,
        )
        self.camera = Camera(
            "camif",
            clock=of_block("camif"),
            codec_done=source("INT_CAM_C"),
            preview_done=source("INT_CAM_P"),
            write_memory=self.bus.poke,
            log=log,
        )
        self.ac97 = Ac97("ac97", clock=of_block("ac97"), interrupt=source("INT_AC97"), log=log)
        self.iis = I2s("iis", clock=of_block("iis"), clocks=clocks, log=log)
        self.dma = Dma(
            "dma",
            bus=self.bus,
            clock=of_block("dma"),
            clocks=clocks,
            interrupts=[source(f"INT_DMA{n}") for n in range(4)],
            log=log,
        )
        timer = DmaPort("timer")
        timer_dma.connect(timer.request)
        for channel in (0, 2, 3):
            self.dma.connect(channel, "Timer", timer)
        for channel in range(4):
            self.dma.connect(channel, "SDI", self.sdi.dma)
        for channel, uart in zip((0, 1, 3), self.uarts, strict=True):
            self.dma.connect(channel, uart.name.upper(), dma_port(uart))
        for channel in (0, 2):
            self.dma.connect(channel, "I2SSDO", self.iis.dma_out)
        for channel in (1, 2):
            self.dma.connect(channel, "I2SSDI", self.iis.dma_in)
        for channel in (1, 3):
            self.dma.connect(channel, "PCMOUT", self.ac97.dma_out)
        for channel in (0, 2):
            self.dma.connect(channel, "PCMIN", self.ac97.dma_in)
        for channel in (2, 3):
            self.dma.connect(channel, "MICIN", self.ac97.dma_mic)
        self.dma.connect(1, "SPI0", self.spi.dma[0])
        self.dma.connect(3, "SPI1", self.spi.dma[1])
        for channel, request in enumerate(self.usb_device.dma):
            self.dma.connect(channel, f"USB EP{channel + 1}", request)
        for number, (asking, answering) in enumerate((("GPB10", "GPB9"), ("GPB8", "GPB7"))):
            external = self.dma.external[number]
            self.gpio.pin(asking).sense(f"nXDREQ{number}", 1).connect(external.drive)
            drive = self.gpio.pin(answering).alternate(f"nXDACK{number}")
            external.acknowledge.connect(drive)
            drive(1)
        for base, block in (
            (0x48000000, self.memc),
            (0x49000000, self.usb_host),
            (0x4A000000, self.intc),
            (0x4B000000, self.dma),
            (0x4C000000, self.clkpwr),
            (0x4D000000, self.lcd),
            (0x4E000000, self.nand),
            (0x4F000000, self.camera),
            *((0x50000000 + 0x4000 * n, uart) for n, uart in enumerate(self.uarts)),
            (0x51000000, self.pwm),
            (0x52000000, self.usb_device),
            (0x53000000, self.wdt),
            (0x54000000, self.i2c),
            (0x55000000, self.iis),
            (0x56000000, self.gpio),
            (0x57000000, self.rtc),
            (0x58000000, self.adc),
            (0x59000000, self.spi),
            (0x5A000000, self.sdi),
            (0x5B000000, self.ac97),
        ):
            self._add(block, base)
        clocks.on_gates = lambda: self.gates.apply(self.devices, clocks.CLKCON)
        clocks.on_lock = self.gates.stand_still
        for offset, port in self.nand.ports():
            self.bus.register_stream(0x4E000000 + offset, port)
        self.bus.register_stream(0x4C000000 + ClockPower.CLKCON.offset, self.clkpwr.held_gates)
        for offset, port in self.sdi.ports():
            self.bus.register_stream(0x5A000000 + offset, port)
        for number, uart in enumerate(self.uarts):
            self.bus.register_stream(0x50000000 + 0x4000 * number + Uart.UFCON.offset, uart.held_fifo_control)
        for offset, port in self.pwm.ports():
            self.bus.register_stream(0x51000000 + offset, port)

    def _add_board_parts(
        self, nor_image: Backing | None, eeprom_image: Backing | None, mac: bytes | None
    ) -> None:
        log, clock, pin = self.log, self.clock, self.gpio.pin
        self.nor = NorFlash(clock=clock, backing=nor_image, log=log)
        self.eeprom = At24c08("eeprom", clock=clock, backing=eeprom_image, log=log)
        self.i2c.attach(self.eeprom)
        # pull-ups on the board: SCL and SDA, whose pins have none
        for name in ("GPE14", "GPE15"):
            pin(name).pull(1)
        for name, wired_to in WIRED.items():
            pin(name).wired_to = wired_to
        self.gpio.status["RnB"] = self.nand_chip.rnb
        self.gpio.before_status = self.nand_chip.ready.settle
        self.leds = [Led(name, pin(place)) for name, place in LEDS.items()]
        self.buttons = [Button(name, pin(place)) for name, place in BUTTONS.items()]
        self._taps = {button.name: Timer(clock, button.release) for button in self.buttons}
        self.sd_slot = SdSlot("sd", controller=self.sdi, detect=pin("GPG8"), protect=pin("GPH8"), log=log)
        self.audio = AudioMixer()
        self.codec = self.iis.codec = Uda1341(
            "uda1341", mode=pin("GPB2"), data=pin("GPB3"), clock=pin("GPB4"), mixer=self.audio, log=log
        )
        self.buzzer = Buzzer(clock=clock, pin=pin("GPB0"), pwm=self.pwm, voice=self.audio.voice("buzzer"))
        # GPC5 switches the resistor that tells a host of the device (schematic: USB_EN)
        pull_up = Line("usb.D+", pin("GPC5").level)
        pin("GPC5").connect(pull_up.set)
        self.usb_cable = UsbHostModel("usb_cable", clock=clock, device=self.usb_device, pull_up=pull_up)
        # index and data port are told apart by address line 2 (schematic: DM9000's CMD)
        interrupt = Line("dm9000.INT")
        self.dm9000 = Dm9000("dm9000", clock=clock, interrupt=interrupt, mac=mac, log=log)
        pin("GPF7").follow(interrupt)
        self.bus.map(DM9000_BASE, self.dm9000)
        self.bus.register_stream(DM9000_BASE + PORTS + 4, self.dm9000.mac.stream)
        parts = (self.nand_chip, self.nor, self.eeprom, self.sd_slot, self.dm9000, self.codec, self.usb_cable)
        for part in parts:
            self._add(part)

    def _connect_panel(self, model: PanelModel) -> None:
        light, lcd = self.gpio.pin("GPG4"), self.lcd
        lcd.panel = LcdPanel(model, light=light)
        drive = light.alternate("LCD_PWRDN")
        lcd.power_enable.connect(drive)
        drive(lcd.power_enable.level)
        self.touch = TouchPanel(self.adc, lcd.panel_size)

    def _map_memories(self) -> None:
        self.bus.map(SDRAM_BASE, self.sdram)
        if self.boot_switch is BootSwitch.NOR:
            self.nor.map(self.bus, 0)
            self.bus.map(0x40000000, self.sram)
        else:
            self.bus.map(0, self.sram)

    def _follow_core_clock(self) -> None:
        self.clock.set_period(PS_PER_SECOND // self.clkpwr.armclk)

    def _sleep_requested(self) -> None:
        if not self.memc.REFRESH & SELF_REFRESH:
            self.clkpwr.guest_error("SLEEP without self refresh, in which SDRAM forgets its contents")
        self.on_request(PowerRequest.SLEEP)

    def _watchdog_reset(self) -> None:
        self.gpio.reset_cause = ResetCause.WATCHDOG
        self.on_request(PowerRequest.RESET)

    def connect_audio(
        self, sink: AudioSink | None, source: AudioSource | None = None, rate: int = 44100
    ) -> None:
        """Let ``sink`` get what codec and buzzer play, at ``rate`` Hz in stereo, and record from ``source``.

        None: nobody hears it, and silence is recorded.
        """
        self.audio.connect(sink, rate)
        self.audio.source = source
        if sink is not None:
            self.buzzer.connect()
        else:
            self.buzzer.disconnect()

    def tap(self, button: str, duration: int) -> None:
        """Press a button and hold it for ``duration`` ns. KeyError when there is none of that name."""
        timer = self._taps[button]
        next(item for item in self.buttons if item.name == button).press()
        timer.start_in(duration)

    def wake_requested(self) -> bool:
        """Whether something came that ends SLEEP: the RTC's alarm or an external interrupt (UM 7-15)."""
        return self.clkpwr.woken_by != 0

    def power_down(self) -> None:
        """Enter SLEEP: what has no power then forgets its state, and an active level wakes up at once."""
        for name in OFF_IN_SLEEP:
            self.devices[name].reset()
        # out of reset it would count: in SLEEP nothing does
        self.wdt.set_bootloader_defaults()
        self.gpio.report_levels()

    def prepare_wake_up(self) -> None:
        """The next reset is the one that ends SLEEP."""
        self.gpio.reset_cause = ResetCause.SLEEP

    def resettable(self) -> Iterator[Device]:
        """What the system reset line reaches."""
        return iter(self.devices.values())

    def reset(self) -> None:
        """The system reset: every block; the steppingstone fills from NAND where it answers at 0."""
        woken = self.gpio.reset_cause is ResetCause.SLEEP
        for device in self.resettable():
            device.reset()
        self.gpio.reset_cause = ResetCause.POWER_ON
        self._resume_at = None
        if woken:
            # a resuming system finds in SRCPND what woke it, as in EINTPEND
            for number, name in ((16, "INT_RTC"), *enumerate(EINT_LINES[:4])):
                if self.clkpwr.woken_by >> number & 1:
                    self._source(name).pulse()
            if self.sdram_holds(self.gpio.GSTATUS3):
                self._resume_at = self.gpio.GSTATUS3
        else:
            self.clkpwr.woken_by = 0
        if self.boot_switch is BootSwitch.NAND:
            part = self.nand_chip.part
            first = self.nand_chip.read_pages(0, SRAM_SIZE // part.page_size)
            self.sram.data[:] = first
        if self.boot_plan is not None:
            self._do_as_bootloader(self.boot_plan)

    # -- snapshots ---------------------------------------------------------------------------------

    def save(self) -> dict[str, Any]:
        """The state of all parts as plain data, but for the contents of memories and flash chips."""
        devices = {name: device.save() for name, device in self.devices.items()}
        del devices[self.nand_chip.name]["cells"], devices[self.nor.name]["changed"]
        return {
            "devices": devices,
            "reset_cause": self.gpio.reset_cause.name,
            "taps": {name: timer.deadline for name, timer in self._taps.items()},
            "timers": self.clock.order(),
            "block_times": self.gates.save(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Put back what :meth:`save` gave; the clock has its time already.

        Twice: parts that are loaded put new levels on their lines, and other parts, loaded before them,
        would take these for events. The second time no line changes any more.
        """
        self.gates.load(state["block_times"])
        for _ in range(2):
            for name, device in self.devices.items():
                device.load(state["devices"][name])
        self.gpio.reset_cause = ResetCause[state["reset_cause"]]
        for name, timer in self._taps.items():
            timer.load(state["taps"][name])
        self.clock.put_in_order(state["timers"])

    def _do_as_bootloader(self, plan: BootPlan) -> None:
        """Leave the chip as a bootloader does before it starts what it loaded, or resumes what slept.

        After SLEEP a bootloader goes on at the address in GSTATUS3 (Linux, arch/arm/mach-s3c/pm-s3c2410.c).
        """
        for block in (self.clkpwr, self.memc, self.wdt, self.uarts[0], self.nand):
            block.set_bootloader_defaults()
        if self._resume_at is None:
            for load in plan.loads:
                self.bus.poke(load.address, load.data)

    def sdram_holds(self, address: int) -> bool:
        """Whether the word at a physical address is in SDRAM."""
        return address & 3 == 0 and SDRAM_BASE <= address < SDRAM_BASE + self.sdram.size

    def start_registers(self) -> dict[str, int]:
        """The CPU's registers after a reset that differ from zero."""
        if self.boot_plan is None:
            return {}
        plan = self.boot_plan
        if self._resume_at is not None:
            return {"sctlr": 0xC0000000, "cpsr": 0xC0 | Mode.SVC, "pc": self._resume_at}
        masked = 0xC0 | Mode.SVC | (0x20 if plan.thumb else 0)
        # clocks in asynchronous mode (bits nF and iA): FCLK is not HCLK (UM 7-9)
        return {
            "sctlr": 0xC0000000,
            "cpsr": masked,
            "r0": plan.r0,
            "r1": plan.r1,
            "r2": plan.r2,
            "pc": plan.pc,
        }

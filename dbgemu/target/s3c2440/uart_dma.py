"""A UART's FIFOs as the DMA controller sees them: one request for both directions (UM 11, UCON)."""

from __future__ import annotations

from dbgemu.target.s3c2440.dma_port import DmaPort
from dbgemu.target.s3c2440.uart import Uart
from dbgemu.target.s3c2440.uart_registers import UartRegisters

_TRANSMIT, _RECEIVE = UartRegisters.UTXH.offset, UartRegisters.URXH.offset


def dma_port(uart: Uart) -> DmaPort:
    """The request of ``uart``. A unit carries one character, whatever its size."""

    def read(unit: int, maximum: int) -> bytes:
        data = bytearray()
        while uart.receive_request and len(data) < maximum:
            data += uart.read(_RECEIVE, 1).to_bytes(unit, "little")
        return bytes(data)

    def write(unit: int, data: bytes) -> int:
        taken = 0
        while uart.transmit_request and taken < len(data):
            uart.write(_TRANSMIT, 1, data[taken])
            taken += unit
        return taken

    port = DmaPort(uart.name, read=read, write=write)
    uart.dma.connect(port.request)
    return port

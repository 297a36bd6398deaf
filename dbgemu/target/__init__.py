"""What the guest can see: the CPU, the SoC, the chips and the board."""

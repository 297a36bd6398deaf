"""Parts soldered to the board."""

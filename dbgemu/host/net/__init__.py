"""What the board's network cable can be plugged into, on the host."""

"""What can be plugged into the board's USB host ports."""

"""Windows and VNC: the screen for people, and what they do to it."""

"""Snapshots: the complete state of a machine in a file, to be taken up again by any process."""

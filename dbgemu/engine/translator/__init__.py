"""Tier 1: hot guest code as straight machine code, a region of joined blocks at a time."""

"""The ARM920T: encodings, semantics, registers, cp15, MMU, exceptions."""

"""What generated code and Python agree on beside the CPU's state."""

#: The physical page table has an entry of 64 bits for each 4 KiB: these flags, and in the other
#: bits what to add to a physical address for its host address; 0 where there is no memory.
PHYSICAL_PAGE_BITS = 12
PAGE_PRESENT, PAGE_WRITABLE = 1, 2

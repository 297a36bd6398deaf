"""Native search for the few executed blocks that can change a call stack.

Who follows calls through the millions of blocks of a trace has to look at those only where control came to
another function, or to where a call may return to; loops and branches within one function are passed here.
"""

from __future__ import annotations

import ctypes

from dbgemu.engine.trace_replay import COLUMNS
from dbgemu.engine.trace_ring import MULTIPLIER

#: addresses are marked in a bitmap of so many bits, by a hash: another one's mark costs time, nothing else
MARK_BITS = 19

_SHIFT = 32 - MARK_BITS


def mark_of(address: int) -> int:
    """The number of an address's bit among the marks."""
    return (address * MULTIPLIER & 0xFFFFFFFF) >> _SHIFT


class Before(ctypes.Structure):
    """The block in front of a search: where its instructions end, and what it was."""

    _fields_ = (
        ("count", ctypes.c_uint64),  # of the instruction behind it
        ("address", ctypes.c_uint32),  # of that instruction
        ("flags", ctypes.c_uint32),  # bit 0 Thumb, bit 1 User mode
    )


class Found(ctypes.Structure):
    """Where a search puts what it finds: addresses of arrays."""

    _fields_ = (
        ("icounts", ctypes.c_uint64),  # of 64 bits
        ("pcs", ctypes.c_uint64),  # of 32 bits
        ("flags", ctypes.c_uint64),  # of 8 bits: 0 Thumb, 1 User mode; 2 and 3 the same of the block before
        ("ends", ctypes.c_uint64),  # of 64 bits: the count behind the block before
        ("origins", ctypes.c_uint64),  # of 32 bits: the address behind the block before; 0 after a gap
    )


#: transitions(blocks, first, end, before, edges, number of edges, marks, found): from the blocks at places
#: ``first`` to ``end`` - 1 those that
#: - are the first one,
#: - come after a gap or another privilege's block,
#: - lie in another cell than the block before: cells are what edges (ascending, the first 0) and MiB part,
#: - lie at an exception vector, or come behind such a one,
#: - begin at a marked address.
#: Where one came from is marked on the way, and the instruction in front of that. Gives how many there are;
#: ``before`` goes on.
_TRANSITIONS = f"""
define void @mark_address(ptr %marks, i32 %address) alwaysinline {{
  %m0 = mul i32 %address, {MULTIPLIER}
  %m1 = lshr i32 %m0, {_SHIFT}
  %byte = lshr i32 %m1, 3
  %at = getelementptr i8, ptr %marks, i32 %byte
  %bit = and i32 %m1, 7
  %one = shl i32 1, %bit
  %mask = trunc i32 %one to i8
  %old = load i8, ptr %at
  %new = or i8 %old, %mask
  store i8 %new, ptr %at
  ret void
}}

define i64 @transitions(ptr noalias %b, i64 %first, i64 %end, ptr noalias %r, ptr noalias %edges,
                        i64 %edge_number, ptr noalias %marks, ptr noalias %f) {{
entry:
{COLUMNS}
  %found_icounts = load ptr, ptr %f
  %at_found_pcs = getelementptr i8, ptr %f, i64 8
  %found_pcs = load ptr, ptr %at_found_pcs
  %at_found_flags = getelementptr i8, ptr %f, i64 16
  %found_flags = load ptr, ptr %at_found_flags
  %at_found_ends = getelementptr i8, ptr %f, i64 24
  %found_ends = load ptr, ptr %at_found_ends
  %at_found_origins = getelementptr i8, ptr %f, i64 32
  %found_origins = load ptr, ptr %at_found_origins
  %ended0 = load i64, ptr %r
  %at_behind = getelementptr i8, ptr %r, i64 8
  %behind0 = load i32, ptr %at_behind
  %at_before = getelementptr i8, ptr %r, i64 12
  %before0 = load i8, ptr %at_before
  br label %next
next:
  %k = phi i64 [%first, %entry], [%k1, %pass], [%k1, %cell]
  %n = phi i64 [0, %entry], [%n, %pass], [%n1, %cell]
  %low = phi i32 [0, %entry], [%low, %pass], [%low1, %cell]
  %size = phi i32 [0, %entry], [%size, %pass], [%size1, %cell]
  %ended = phi i64 [%ended0, %entry], [%ended1, %pass], [%ended1, %cell]
  %behind = phi i32 [%behind0, %entry], [%behind1, %pass], [%behind1, %cell]
  %before = phi i8 [%before0, %entry], [%flag, %pass], [%flag, %cell]
  %done = icmp uge i64 %k, %end
  br i1 %done, label %out, label %body
body:
  %k1 = add i64 %k, 1
  %ip = getelementptr i64, ptr %icounts, i64 %k
  %icount = load i64, ptr %ip
  %pp = getelementptr i32, ptr %pcs, i64 %k
  %pc = load i32, ptr %pp
  %lp = getelementptr i32, ptr %lengths, i64 %k
  %length = load i32, ptr %lp
  %fp = getelementptr i8, ptr %flags, i64 %k
  %flag = load i8, ptr %fp
  %length64 = zext i32 %length to i64
  %ended1 = add i64 %icount, %length64
  %thumb8 = and i8 %flag, 1
  %thumb = zext i8 %thumb8 to i32
  %shift = sub i32 2, %thumb
  %bytes = shl i32 %length, %shift
  %behind1 = add i32 %pc, %bytes
  %away = sub i32 %pc, %low
  %inside = icmp ult i32 %away, %size
  %adjoins = icmp eq i64 %ended, %icount
  %changed = xor i8 %flag, %before
  %privilege = and i8 %changed, 2
  %same = icmp eq i8 %privilege, 0
  %m0 = mul i32 %pc, {MULTIPLIER}
  %m1 = lshr i32 %m0, {_SHIFT}
  %m2 = lshr i32 %m1, 3
  %mp = getelementptr i8, ptr %marks, i32 %m2
  %m3 = load i8, ptr %mp
  %m4 = and i32 %m1, 7
  %m5 = zext i8 %m3 to i32
  %m6 = lshr i32 %m5, %m4
  %m7 = and i32 %m6, 1
  %unmarked = icmp eq i32 %m7, 0
  %x0 = and i1 %inside, %adjoins
  %x1 = and i1 %same, %unmarked
  %plain = and i1 %x0, %x1
  br i1 %plain, label %pass, label %emit
pass:
  br label %next
emit:
  %o0 = getelementptr i64, ptr %found_icounts, i64 %n
  store i64 %icount, ptr %o0
  %o1 = getelementptr i32, ptr %found_pcs, i64 %n
  store i32 %pc, ptr %o1
  %both0 = shl i8 %before, 2
  %both = or i8 %both0, %flag
  %o2 = getelementptr i8, ptr %found_flags, i64 %n
  store i8 %both, ptr %o2
  %o3 = getelementptr i64, ptr %found_ends, i64 %n
  store i64 %ended, ptr %o3
  %origin = select i1 %adjoins, i32 %behind, i32 0
  %o4 = getelementptr i32, ptr %found_origins, i64 %n
  store i32 %origin, ptr %o4
  %n1 = add i64 %n, 1
  call void @mark_address(ptr %marks, i32 %behind)
  %thumb_before = and i8 %before, 1
  %w0 = shl i8 %thumb_before, 1
  %w1 = sub i8 4, %w0
  %w2 = zext i8 %w1 to i32
  %fault = sub i32 %behind, %w2
  call void @mark_address(ptr %marks, i32 %fault)
  %page = and i32 %pc, -32
  %is_low = icmp eq i32 %page, 0
  %is_high = icmp eq i32 %page, {-0x10000}
  %is_vector = or i1 %is_low, %is_high
  br i1 %is_vector, label %cell, label %search
search:
  %s0 = phi i64 [0, %emit], [%s2, %halve]
  %s1 = phi i64 [%edge_number, %emit], [%s3, %halve]
  %room = sub i64 %s1, %s0
  %found = icmp ule i64 %room, 1
  br i1 %found, label %limits, label %halve
halve:
  %half = lshr i64 %room, 1
  %middle = add i64 %s0, %half
  %ep = getelementptr i32, ptr %edges, i64 %middle
  %edge = load i32, ptr %ep
  %right = icmp ule i32 %edge, %pc
  %s2 = select i1 %right, i64 %middle, i64 %s0
  %s3 = select i1 %right, i64 %s1, i64 %middle
  br label %search
limits:
  %ap = getelementptr i32, ptr %edges, i64 %s0
  %a0 = load i32, ptr %ap
  %mib = and i32 %pc, {-0x100000}
  %a1 = icmp ugt i32 %a0, %mib
  %start = select i1 %a1, i32 %a0, i32 %mib
  %last0 = or i32 %pc, {0xFFFFF}
  %is_last = icmp uge i64 %s1, %edge_number
  br i1 %is_last, label %sized, label %bounded
bounded:
  %zp = getelementptr i32, ptr %edges, i64 %s1
  %z0 = load i32, ptr %zp
  %z1 = sub i32 %z0, 1
  %z2 = icmp ult i32 %z1, %last0
  %z3 = select i1 %z2, i32 %z1, i32 %last0
  br label %sized
sized:
  %last = phi i32 [%last0, %limits], [%z3, %bounded]
  %d0 = sub i32 %last, %start
  %d1 = add i32 %d0, 1
  br label %cell
cell:
  %low1 = phi i32 [0, %emit], [%start, %sized]
  %size1 = phi i32 [0, %emit], [%d1, %sized]
  br label %next
out:
  store i64 %ended, ptr %r
  store i32 %behind, ptr %at_behind
  %before32 = zext i8 %before to i32
  store i32 %before32, ptr %at_before
  ret i64 %n
}}
"""


def emit_transitions() -> list[str]:
    """The IR of the search."""
    return [_TRANSITIONS]

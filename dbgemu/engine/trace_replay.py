"""Native replay: from the block stream of a trace's chunk back to the sequence of executed blocks.

The tables that predicted while recording (:mod:`dbgemu.engine.trace_ring`) are kept here likewise.
"""

from __future__ import annotations

import ctypes

from dbgemu.engine.trace_ring import (
    BLOCK_BITS,
    GAP,
    HITS_SHIFT,
    LONG,
    MANY_HITS,
    MULTIPLIER,
    PATH_BITS,
    PATH_SHIFT,
    USER_BIT,
)

#: what may lie behind the stream so that no damaged record is read beyond it (bytes)
PADDING = 32
_LENGTH_MASK = 0x7FFFFFFF << 32


class ReplayState(ctypes.Structure):
    """Where the replay of a chunk stands. ``place`` and ``end`` are host addresses in the stream."""

    _fields_ = (
        ("current", ctypes.c_uint64),
        ("start", ctypes.c_int64),
        ("path", ctypes.c_uint64),
        ("hits", ctypes.c_uint64),
        ("place", ctypes.c_uint64),
        ("end", ctypes.c_uint64),
        ("pending", ctypes.c_uint64),  # a record's head byte, with bit 8 set, until its hits are done
        ("path_table", ctypes.c_uint64 * (1 << PATH_BITS)),
        ("block_table", ctypes.c_uint64 * (1 << BLOCK_BITS)),
    )


class BlockTable(ctypes.Structure):
    """Where replay puts blocks: addresses of arrays."""

    _fields_ = (
        ("icounts", ctypes.c_uint64),  # of 64 bits
        ("pcs", ctypes.c_uint64),  # of 32 bits
        ("lengths", ctypes.c_uint64),  # of 32 bits
        ("flags", ctypes.c_uint64),  # of 8 bits: bit 0 Thumb, bit 1 User mode
    )


class TallyEntry(ctypes.Structure):
    """How often a key occurred; 0 occurrences: free."""

    _fields_ = (("key", ctypes.c_uint64), ("occurrences", ctypes.c_uint64))


def _field(name: str) -> int:
    return int(getattr(ReplayState, name).offset)


def _loads() -> str:
    names = ("current", "start", "path", "hits", "place", "pending")
    lines = []
    for name in names:
        lines.append(f"  %at_{name} = getelementptr i8, ptr %r, i64 {_field(name)}")
        lines.append(f"  %{name}_0 = load i64, ptr %at_{name}")
        lines.append(f"  %{name} = alloca i64")
        lines.append(f"  store i64 %{name}_0, ptr %{name}")
    return "\n".join(lines)


def _stores() -> str:
    names = ("current", "start", "path", "hits", "place", "pending")
    return "\n".join(
        f"  %last_{name} = load i64, ptr %{name}\n  store i64 %last_{name}, ptr %at_{name}" for name in names
    )


#: the addresses of the columns of recorded blocks, at ``%b``
COLUMNS = """\
  %icounts = load ptr, ptr %b
  %at_pcs = getelementptr i8, ptr %b, i64 8
  %pcs = load ptr, ptr %at_pcs
  %at_lengths = getelementptr i8, ptr %b, i64 16
  %lengths = load ptr, ptr %at_lengths
  %at_flags = getelementptr i8, ptr %b, i64 24
  %flags = load ptr, ptr %at_flags"""

#: replay(state, blocks, room, steps): fill the arrays with at most ``room`` blocks; gives their number.
#: It returns at the end of the stream, or after ``steps`` predictions and records.
_REPLAY = f"""
define i64 @replay(ptr noalias %r, ptr noalias %b, i64 %room, i64 %steps) {{
entry:
{_loads()}
  %n = alloca i64
  store i64 0, ptr %n
  %left = alloca i64
  store i64 %steps, ptr %left
  %key = alloca i64
  %len = alloca i64
  %at_end = getelementptr i8, ptr %r, i64 {_field("end")}
  %end = load i64, ptr %at_end
  %paths = getelementptr i8, ptr %r, i64 {_field("path_table")}
  %starts = getelementptr i8, ptr %r, i64 {_field("block_table")}
{COLUMNS}
  br label %next
next:
  %l0 = load i64, ptr %left
  %n0 = load i64, ptr %n
  %spent = icmp eq i64 %l0, 0
  %full = icmp uge i64 %n0, %room
  %stop = or i1 %spent, %full
  br i1 %stop, label %out, label %go
go:
  %h0 = load i64, ptr %hits
  %any = icmp ne i64 %h0, 0
  br i1 %any, label %hit, label %nohit
hit:
  %h1 = sub i64 %h0, 1
  store i64 %h1, ptr %hits
  %p0 = load i64, ptr %path
  %pe0 = getelementptr i64, ptr %paths, i64 %p0
  %k0 = load i64, ptr %pe0
  store i64 %k0, ptr %key
  br label %apply
nohit:
  %q0 = load i64, ptr %pending
  %waits = icmp ne i64 %q0, 0
  br i1 %waits, label %record, label %head
head:
  %a0 = load i64, ptr %place
  %done = icmp uge i64 %a0, %end
  br i1 %done, label %out, label %take
take:
  %ap0 = inttoptr i64 %a0 to ptr
  %b0 = load i8, ptr %ap0
  %b1 = zext i8 %b0 to i64
  %b2 = or i64 %b1, 256
  store i64 %b2, ptr %pending
  %a1 = add i64 %a0, 1
  store i64 %a1, ptr %place
  %few = lshr i64 %b1, {HITS_SHIFT}
  store i64 %few, ptr %hits
  %many = icmp eq i64 %few, {MANY_HITS}
  br i1 %many, label %wide, label %next
wide:
  %ap1 = inttoptr i64 %a1 to ptr
  %h2 = load i64, ptr %ap1, align 1
  store i64 %h2, ptr %hits
  %a2 = add i64 %a1, 8
  store i64 %a2, ptr %place
  br label %next
record:
  store i64 0, ptr %pending
  %u0 = lshr i64 %q0, 1
  %u1 = and i64 %u0, 1
  %user = shl i64 %u1, {USER_BIT}
  %c0 = load i64, ptr %current
  %c32 = trunc i64 %c0 to i32
  %m0 = mul i32 %c32, {MULTIPLIER}
  %m1 = lshr i32 %m0, {32 - PATH_BITS}
  %m2 = and i32 %m1, {(1 << BLOCK_BITS) - 1}
  %m3 = zext i32 %m2 to i64
  %se = getelementptr i64, ptr %starts, i64 %m3
  %s0 = and i64 %q0, 1
  %second = icmp ne i64 %s0, 0
  br i1 %second, label %near, label %plain
near:
  %k1 = load i64, ptr %se
  store i64 %k1, ptr %key
  br label %learn
plain:
  %a3 = load i64, ptr %place
  %ap3 = inttoptr i64 %a3 to ptr
  %d0 = load i8, ptr %ap3
  %d1 = zext i8 %d0 to i64
  %a4 = add i64 %a3, 1
  %gap = icmp eq i64 %d1, {GAP}
  br i1 %gap, label %leap, label %sized
leap:
  %ap4 = inttoptr i64 %a4 to ptr
  %st = load i64, ptr %ap4, align 1
  store i64 %st, ptr %start
  %a5 = add i64 %a4, 8
  %ap5 = inttoptr i64 %a5 to ptr
  %np = load i32, ptr %ap5, align 1
  %np64 = zext i32 %np to i64
  %nc = or i64 %np64, %user
  store i64 %nc, ptr %current
  %a6 = add i64 %a5, 4
  store i64 %a6, ptr %place
  %nm0 = mul i32 %np, {MULTIPLIER}
  %nm1 = lshr i32 %nm0, {32 - PATH_BITS}
  %nm2 = zext i32 %nm1 to i64
  store i64 %nm2, ptr %path
  %l2 = sub i64 %l0, 1
  store i64 %l2, ptr %left
  br label %next
sized:
  store i64 %d1, ptr %len
  store i64 %a4, ptr %place
  %long = icmp eq i64 %d1, {LONG}
  br i1 %long, label %longer, label %target
longer:
  %ap6 = inttoptr i64 %a4 to ptr
  %w0 = load i32, ptr %ap6, align 1
  %w1 = and i32 %w0, {0x7FFFFFFF}
  %w2 = zext i32 %w1 to i64
  store i64 %w2, ptr %len
  %a7 = add i64 %a4, 4
  store i64 %a7, ptr %place
  br label %target
target:
  %a8 = load i64, ptr %place
  %ap8 = inttoptr i64 %a8 to ptr
  %t0 = load i32, ptr %ap8, align 1
  %t1 = zext i32 %t0 to i64
  %a9 = add i64 %a8, 4
  store i64 %a9, ptr %place
  %g0 = load i64, ptr %len
  %g1 = shl i64 %g0, 32
  %g2 = or i64 %g1, %t1
  %g3 = or i64 %g2, %user
  store i64 %g3, ptr %key
  br label %learn
learn:
  %k2 = load i64, ptr %key
  %p1 = load i64, ptr %path
  %pe1 = getelementptr i64, ptr %paths, i64 %p1
  store i64 %k2, ptr %pe1
  store i64 %k2, ptr %se
  br label %apply
apply:
  %l1 = sub i64 %l0, 1
  store i64 %l1, ptr %left
  %k3 = load i64, ptr %key
  %e0 = and i64 %k3, {_LENGTH_MASK}
  %e1 = lshr i64 %e0, 32
  %i0 = load i64, ptr %start
  %f0 = load i64, ptr %current
  %ended = add i64 %i0, %e1
  store i64 %ended, ptr %start
  %now = and i64 %k3, {~_LENGTH_MASK}
  store i64 %now, ptr %current
  %x0 = trunc i64 %k3 to i32
  %x1 = mul i32 %x0, {MULTIPLIER}
  %x2 = lshr i32 %x1, {32 - PATH_BITS}
  %x3 = zext i32 %x2 to i64
  %x4 = load i64, ptr %path
  %x5 = shl i64 %x4, {PATH_SHIFT}
  %x6 = xor i64 %x5, %x3
  %x7 = and i64 %x6, {(1 << PATH_BITS) - 1}
  store i64 %x7, ptr %path
  %empty = icmp eq i64 %e1, 0
  br i1 %empty, label %next, label %emit
emit:
  %o0 = getelementptr i64, ptr %icounts, i64 %n0
  store i64 %i0, ptr %o0
  %f1 = trunc i64 %f0 to i32
  %f2 = and i32 %f1, -2
  %o1 = getelementptr i32, ptr %pcs, i64 %n0
  store i32 %f2, ptr %o1
  %e2 = trunc i64 %e1 to i32
  %o2 = getelementptr i32, ptr %lengths, i64 %n0
  store i32 %e2, ptr %o2
  %y0 = lshr i64 %f0, {USER_BIT}
  %y1 = shl i64 %y0, 1
  %y2 = and i64 %f0, 1
  %y3 = or i64 %y1, %y2
  %y4 = trunc i64 %y3 to i8
  %o3 = getelementptr i8, ptr %flags, i64 %n0
  store i8 %y4, ptr %o3
  %n1 = add i64 %n0, 1
  store i64 %n1, ptr %n
  br label %next
out:
{_stores()}
  ret i64 %n0
}}
"""

#: tally(keys, number, entries, mask, used, places): count keys in a hash table of mask + 1 entries; gives
#: how many of them were counted: less than all when the table became three quarters full. The place of
#: each key that was not there is appended to ``places``, unless that is null.
_TALLY = f"""
define i64 @tally(ptr noalias %keys, i64 %number, ptr noalias %entries, i64 %mask,
                  ptr noalias %used, ptr noalias %places) {{
entry:
  %wanted = icmp ne ptr %places, null
  %u0 = load i64, ptr %used
  %limit0 = lshr i64 %mask, 2
  %limit = mul i64 %limit0, 3
  br label %next
next:
  %k = phi i64 [0, %entry], [%k1, %found]
  %u = phi i64 [%u0, %entry], [%u1, %found]
  %done = icmp uge i64 %k, %number
  %full = icmp uge i64 %u, %limit
  %stop = or i1 %done, %full
  br i1 %stop, label %out, label %hash
hash:
  %kp = getelementptr i64, ptr %keys, i64 %k
  %key = load i64, ptr %kp
  %high = lshr i64 %key, 32
  %mixed = xor i64 %key, %high
  %m = mul i64 %mixed, {MULTIPLIER}
  %m1 = lshr i64 %m, 16
  br label %probe
probe:
  %s = phi i64 [%m1, %hash], [%s2, %other]
  %slot = and i64 %s, %mask
  %entry_at = getelementptr [16 x i8], ptr %entries, i64 %slot
  %count_at = getelementptr i8, ptr %entry_at, i64 8
  %count = load i64, ptr %count_at
  %free = icmp eq i64 %count, 0
  br i1 %free, label %claim, label %compare
compare:
  %stored = load i64, ptr %entry_at
  %same = icmp eq i64 %stored, %key
  br i1 %same, label %found, label %other
other:
  %s2 = add i64 %slot, 1
  br label %probe
claim:
  store i64 %key, ptr %entry_at
  br i1 %wanted, label %tell, label %found
tell:
  %behind = sub i64 %u, %u0
  %place_at = getelementptr i64, ptr %places, i64 %behind
  store i64 %k, ptr %place_at
  br label %found
found:
  %new = phi i64 [1, %claim], [1, %tell], [0, %compare]
  %u1 = add i64 %u, %new
  %count1 = add i64 %count, 1
  store i64 %count1, ptr %count_at
  %k1 = add i64 %k, 1
  br label %next
out:
  store i64 %u, ptr %used
  ret i64 %k
}}
"""

#: block_keys(blocks, number, keys, mask): pc and Thumb bit below, length from bit 32, User mode in bit 63;
#: of these the bits in ``mask``
_BLOCK_KEYS = f"""
define void @block_keys(ptr noalias %b, i64 %number, ptr noalias %keys, i64 %mask) {{
entry:
{COLUMNS}
  br label %next
next:
  %k = phi i64 [0, %entry], [%k1, %body]
  %done = icmp uge i64 %k, %number
  br i1 %done, label %out, label %body
body:
  %pp = getelementptr i32, ptr %pcs, i64 %k
  %p0 = load i32, ptr %pp
  %p1 = zext i32 %p0 to i64
  %lp = getelementptr i32, ptr %lengths, i64 %k
  %l0 = load i32, ptr %lp
  %l1 = zext i32 %l0 to i64
  %l2 = shl i64 %l1, 32
  %fp = getelementptr i8, ptr %flags, i64 %k
  %f0 = load i8, ptr %fp
  %f1 = zext i8 %f0 to i64
  %thumb = and i64 %f1, 1
  %u0 = lshr i64 %f1, 1
  %u1 = shl i64 %u0, {USER_BIT}
  %x0 = or i64 %p1, %l2
  %x1 = or i64 %x0, %thumb
  %x3 = or i64 %x1, %u1
  %x2 = and i64 %x3, %mask
  %kp = getelementptr i64, ptr %keys, i64 %k
  store i64 %x2, ptr %kp
  %k1 = add i64 %k, 1
  br label %next
out:
  ret void
}}
"""

#: edge_keys(blocks, number, keys): for each block followed by the next one recorded without a gap, its
#: last instruction's address in the high half and the next pc in the low one; gives their number
_EDGE_KEYS = f"""
define i64 @edge_keys(ptr noalias %b, i64 %number, ptr noalias %keys) {{
entry:
{COLUMNS}
  br label %next
next:
  %k = phi i64 [0, %entry], [%k1, %after]
  %n = phi i64 [0, %entry], [%n1, %after]
  %k1 = add i64 %k, 1
  %done = icmp uge i64 %k1, %number
  br i1 %done, label %out, label %body
body:
  %ip = getelementptr i64, ptr %icounts, i64 %k
  %i0 = load i64, ptr %ip
  %iq = getelementptr i64, ptr %icounts, i64 %k1
  %i1 = load i64, ptr %iq
  %lp = getelementptr i32, ptr %lengths, i64 %k
  %l0 = load i32, ptr %lp
  %l1 = zext i32 %l0 to i64
  %e0 = add i64 %i0, %l1
  %adjoins = icmp eq i64 %e0, %i1
  br i1 %adjoins, label %edge, label %after
edge:
  %pp = getelementptr i32, ptr %pcs, i64 %k
  %p0 = load i32, ptr %pp
  %pq = getelementptr i32, ptr %pcs, i64 %k1
  %p1 = load i32, ptr %pq
  %fp = getelementptr i8, ptr %flags, i64 %k
  %f0 = load i8, ptr %fp
  %f1 = and i8 %f0, 1
  %f2 = zext i8 %f1 to i32
  %shift = sub i32 2, %f2
  %d0 = sub i32 %l0, 1
  %d1 = shl i32 %d0, %shift
  %source = add i32 %p0, %d1
  %s0 = zext i32 %source to i64
  %s1 = shl i64 %s0, 32
  %t0 = zext i32 %p1 to i64
  %x = or i64 %s1, %t0
  %kp = getelementptr i64, ptr %keys, i64 %n
  store i64 %x, ptr %kp
  br label %after
after:
  %m = phi i64 [0, %body], [1, %edge]
  %n1 = add i64 %n, %m
  br label %next
out:
  ret i64 %n
}}
"""


def emit_replay() -> list[str]:
    """The IR of the functions that replay and count."""
    return [_REPLAY, _TALLY, _BLOCK_KEYS, _EDGE_KEYS]

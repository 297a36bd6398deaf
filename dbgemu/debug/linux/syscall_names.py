"""Names of Linux's system calls on ARM: what debuggers show, and take, for their numbers.

From Linux 6.1's table (arch/arm/tools/syscall.tbl); calls that Linux has dropped, and its private ones for
ARM, have the names that gdb gives them.
"""

from __future__ import annotations

#: names from each number on; ``-`` where no call has the number
_TABLE = """
0: restart_syscall exit fork read write open close waitpid creat link
10: unlink execve chdir time mknod chmod lchown break oldstat lseek
20: getpid mount umount setuid getuid stime ptrace alarm oldfstat pause
30: utime stty gtty access nice ftime sync kill rename mkdir
40: rmdir dup pipe times prof brk setgid getgid signal geteuid
50: getegid acct umount2 lock ioctl fcntl mpx setpgid ulimit oldolduname
60: umask chroot ustat dup2 getppid getpgrp setsid sigaction sgetmask ssetmask
70: setreuid setregid sigsuspend sigpending sethostname setrlimit getrlimit getrusage gettimeofday
  settimeofday
80: getgroups setgroups select symlink oldlstat readlink uselib swapon reboot readdir
90: mmap munmap truncate ftruncate fchmod fchown getpriority setpriority profil statfs
100: fstatfs ioperm socketcall syslog setitimer getitimer stat lstat fstat olduname
110: iopl vhangup idle syscall wait4 swapoff sysinfo ipc fsync sigreturn
120: clone setdomainname uname modify_ldt adjtimex mprotect sigprocmask create_module init_module
  delete_module
130: get_kernel_syms quotactl getpgid fchdir bdflush sysfs personality afs_syscall setfsuid setfsgid
140: _llseek getdents _newselect flock msync readv writev getsid fdatasync _sysctl
150: mlock munlock mlockall munlockall sched_setparam sched_getparam sched_setscheduler sched_getscheduler
  sched_yield sched_get_priority_max
160: sched_get_priority_min sched_rr_get_interval nanosleep mremap setresuid getresuid vm86 query_module
  poll nfsservctl
170: setresgid getresgid prctl rt_sigreturn rt_sigaction rt_sigprocmask rt_sigpending rt_sigtimedwait
  rt_sigqueueinfo rt_sigsuspend
180: pread64 pwrite64 chown getcwd capget capset sigaltstack sendfile - -
190: vfork ugetrlimit mmap2 truncate64 ftruncate64 stat64 lstat64 fstat64 lchown32 getuid32
200: getgid32 geteuid32 getegid32 setreuid32 setregid32 getgroups32 setgroups32 fchown32 setresuid32
  getresuid32
210: setresgid32 getresgid32 chown32 setuid32 setgid32 setfsuid32 setfsgid32 getdents64 pivot_root mincore
220: madvise fcntl64 - - gettid readahead setxattr lsetxattr fsetxattr getxattr
230: lgetxattr fgetxattr listxattr llistxattr flistxattr removexattr lremovexattr fremovexattr tkill
  sendfile64
240: futex sched_setaffinity sched_getaffinity io_setup io_destroy io_getevents io_submit io_cancel
  exit_group lookup_dcookie
250: epoll_create epoll_ctl epoll_wait remap_file_pages - - set_tid_address timer_create timer_settime
  timer_gettime
260: timer_getoverrun timer_delete clock_settime clock_gettime clock_getres clock_nanosleep statfs64
  fstatfs64 tgkill utimes
270: arm_fadvise64_64 pciconfig_iobase pciconfig_read pciconfig_write mq_open mq_unlink mq_timedsend
  mq_timedreceive mq_notify mq_getsetattr
280: waitid socket bind connect listen accept getsockname getpeername socketpair send
290: sendto recv recvfrom shutdown setsockopt getsockopt sendmsg recvmsg semop semget
300: semctl msgsnd msgrcv msgget msgctl shmat shmdt shmget shmctl add_key
310: request_key keyctl semtimedop vserver ioprio_set ioprio_get inotify_init inotify_add_watch
  inotify_rm_watch mbind
320: get_mempolicy set_mempolicy openat mkdirat mknodat fchownat futimesat fstatat64 unlinkat renameat
330: linkat symlinkat readlinkat fchmodat faccessat pselect6 ppoll unshare set_robust_list get_robust_list
340: splice arm_sync_file_range tee vmsplice move_pages getcpu epoll_pwait kexec_load utimensat signalfd
350: timerfd_create eventfd fallocate timerfd_settime timerfd_gettime signalfd4 eventfd2 epoll_create1
  dup3 pipe2
360: inotify_init1 preadv pwritev rt_tgsigqueueinfo perf_event_open recvmmsg accept4 fanotify_init
  fanotify_mark prlimit64
370: name_to_handle_at open_by_handle_at clock_adjtime syncfs sendmmsg setns process_vm_readv
  process_vm_writev kcmp finit_module
380: sched_setattr sched_getattr renameat2 seccomp getrandom memfd_create bpf execveat userfaultfd
  membarrier
390: mlock2 copy_file_range preadv2 pwritev2 pkey_mprotect pkey_alloc pkey_free statx rseq io_pgetevents
400: migrate_pages kexec_file_load - clock_gettime64 clock_settime64 clock_adjtime64 clock_getres_time64
  clock_nanosleep_time64 timer_gettime64 timer_settime64
410: timerfd_gettime64 timerfd_settime64 utimensat_time64 pselect6_time64 ppoll_time64 -
  io_pgetevents_time64 recvmmsg_time64 mq_timedsend_time64 mq_timedreceive_time64
420: semtimedop_time64 rt_sigtimedwait_time64 futex_time64 sched_rr_get_interval_time64 pidfd_send_signal
  io_uring_setup io_uring_enter io_uring_register open_tree move_mount
430: fsopen fsconfig fsmount fspick pidfd_open clone3 close_range openat2 pidfd_getfd faccessat2
440: process_madvise epoll_pwait2 mount_setattr quotactl_fd landlock_create_ruleset landlock_add_rule
  landlock_restrict_self - process_mrelease futex_waitv
450: set_mempolicy_home_node
"""

#: arch/arm/include/uapi/asm/unistd.h
_PRIVATE = {
    0xF0001: "ARM_breakpoint",
    0xF0002: "ARM_cacheflush",
    0xF0003: "ARM_usr26",
    0xF0004: "ARM_usr32",
    0xF0005: "ARM_set_tls",
}


def _read() -> dict[int, str]:
    names = dict(_PRIVATE)
    number = 0
    for word in _TABLE.split():
        if word.endswith(":"):
            number = int(word[:-1])
            continue
        if word != "-":
            names[number] = word
        number += 1
    return names


#: names by number
NAMES = _read()
#: numbers by name
NUMBERS = {name: number for number, name in NAMES.items()}


def describe_call(number: int) -> str:
    """``4 (write)``, or the number alone."""
    name = NAMES.get(number)
    return f"{number} ({name})" if name else str(number)


def nearest_call(word: str) -> str | None:
    """The name that is most like ``word``; None where none is."""
    import difflib  # few mistype

    return next(iter(difflib.get_close_matches(word, NUMBERS, n=1)), None)

"""The part of libslirp's interface that is used here, for cffi: version 4 of its configuration."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from dbgemu.errors import OptionError

#: the version of SlirpConfig that is declared here, which libslirp has from 4.7 on
CONFIG_VERSION = 4

_DECLARATIONS = """
    typedef struct Slirp Slirp;
    struct in_addr { uint32_t s_addr; };
    struct in6_addr { uint8_t s6_addr[16]; };
    typedef ssize_t write_cb(const void *data, size_t length, void *opaque);
    typedef int add_poll_cb(int fd, int events, void *opaque);
    typedef int get_revents_cb(int index, void *opaque);

    typedef struct {
        write_cb *send_packet;
        void (*guest_error)(const char *message, void *opaque);
        int64_t (*clock_get_ns)(void *opaque);
        void *(*timer_new)(void (*callback)(void *), void *cb_opaque, void *opaque);
        void (*timer_free)(void *timer, void *opaque);
        void (*timer_mod)(void *timer, int64_t expires, void *opaque);
        void (*register_poll_fd)(int fd, void *opaque);
        void (*unregister_poll_fd)(int fd, void *opaque);
        void (*notify)(void *opaque);
        void (*init_completed)(Slirp *slirp, void *opaque);
        void *(*timer_new_opaque)(int id, void *cb_opaque, void *opaque);
    } SlirpCb;

    typedef struct {
        uint32_t version;
        int restricted;
        bool in_enabled;
        struct in_addr vnetwork, vnetmask, vhost;
        bool in6_enabled;
        struct in6_addr vprefix_addr6;
        uint8_t vprefix_len;
        struct in6_addr vhost6;
        const char *vhostname, *tftp_server_name, *tftp_path, *bootfile;
        struct in_addr vdhcp_start, vnameserver;
        struct in6_addr vnameserver6;
        const char **vdnssearch;
        const char *vdomainname;
        size_t if_mtu, if_mru;
        bool disable_host_loopback, enable_emu;
        void *outbound_addr, *outbound_addr6;
        bool disable_dns;
        bool disable_dhcp;
    } SlirpConfig;

    Slirp *slirp_new(const SlirpConfig *config, const SlirpCb *callbacks, void *opaque);
    void slirp_cleanup(Slirp *slirp);
    void slirp_pollfds_fill(Slirp *slirp, uint32_t *timeout, add_poll_cb *add_poll, void *opaque);
    void slirp_pollfds_poll(Slirp *slirp, int error, get_revents_cb *get_revents, void *opaque);
    void slirp_input(Slirp *slirp, const uint8_t *frame, int length);
    void slirp_handle_timer(Slirp *slirp, int id, void *cb_opaque);
    int slirp_add_hostfwd(Slirp *slirp, int is_udp, struct in_addr host, int host_port,
                          struct in_addr guest, int guest_port);
    int slirp_remove_hostfwd(Slirp *slirp, int is_udp, struct in_addr host, int host_port);
    char *slirp_connection_info(Slirp *slirp);
    const char *slirp_version_string(void);
    void free(void *memory);
"""


class SlirpLibrary(NamedTuple):
    """``ffi`` knows the types, ``lib`` has libslirp's functions, ``libc`` has ``free``."""

    ffi: Any
    lib: Any
    libc: Any


@cache
def slirp_library() -> SlirpLibrary:
    """The library, loaded. OptionError where there is none."""
    from cffi import FFI

    ffi = FFI()
    ffi.cdef(_DECLARATIONS)
    try:
        lib = ffi.dlopen("libslirp.so.0")
    except OSError:
        raise OptionError(
            "the user network needs the library libslirp: install it (Debian: apt-get install libslirp0), "
            "or use another network or none (-net none)"
        ) from None
    version = ffi.string(lib.slirp_version_string()).decode()
    if tuple(int(part) for part in version.split(".")[:2] if part.isdecimal()) < (4, 7):
        raise OptionError(f"the user network needs libslirp 4.7 or later, and this machine has {version}")
    return SlirpLibrary(ffi, lib, ffi.dlopen(None))

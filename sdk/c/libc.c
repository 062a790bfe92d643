/* What wasi-libc asks of the system, answered without any WASI import, so that its pure functions, malloc, snprintf and
 * even printf can be used: standard output and error go to the program's log, the clock is the block's, randomness is the
 * program's. There are no files. The symbols are weak: a program that needs more than this gets the real ones, and the
 * build then names the imports that no program may have. */
#include <nacre.h>
#include <wasi/api.h>

#define WEAK __attribute__((weak))

WEAK __wasi_errno_t __wasi_fd_write(__wasi_fd_t fd, const __wasi_ciovec_t *iovs, size_t count, __wasi_size_t *written) {
    if (fd != 1 && fd != 2) return __WASI_ERRNO_BADF;
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        if (iovs[i].buf_len > 0) nacre_sys_log(fd == 1 ? NACRE_INFO : NACRE_WARN, iovs[i].buf, iovs[i].buf_len);
        total += iovs[i].buf_len;
    }
    *written = total;
    return __WASI_ERRNO_SUCCESS;
}

WEAK __wasi_errno_t __wasi_fd_read(__wasi_fd_t fd, const __wasi_iovec_t *iovs, size_t count, __wasi_size_t *got) {
    (void)fd, (void)iovs, (void)count, (void)got;
    return __WASI_ERRNO_BADF;
}

WEAK __wasi_errno_t __wasi_fd_close(__wasi_fd_t fd) {
    (void)fd;
    return __WASI_ERRNO_BADF;
}

WEAK __wasi_errno_t __wasi_fd_seek(__wasi_fd_t fd, __wasi_filedelta_t offset, __wasi_whence_t whence,
                                   __wasi_filesize_t *at) {
    (void)fd, (void)offset, (void)whence, (void)at;
    return __WASI_ERRNO_SPIPE;
}

/* A character device, so that stdio flushes line by line. */
WEAK __wasi_errno_t __wasi_fd_fdstat_get(__wasi_fd_t fd, __wasi_fdstat_t *out) {
    if (fd > 2) return __WASI_ERRNO_BADF;
    *out = (__wasi_fdstat_t){.fs_filetype = __WASI_FILETYPE_CHARACTER_DEVICE, .fs_rights_base = __WASI_RIGHTS_FD_WRITE};
    return __WASI_ERRNO_SUCCESS;
}

WEAK __wasi_errno_t __wasi_environ_sizes_get(__wasi_size_t *count, __wasi_size_t *size) {
    *count = *size = 0;
    return __WASI_ERRNO_SUCCESS;
}

WEAK __wasi_errno_t __wasi_environ_get(uint8_t **environ, uint8_t *buf) {
    (void)environ, (void)buf;
    return __WASI_ERRNO_SUCCESS;
}

WEAK __wasi_errno_t __wasi_clock_time_get(__wasi_clockid_t id, __wasi_timestamp_t precision, __wasi_timestamp_t *out) {
    (void)id, (void)precision;
    *out = nacre_time_ms() * 1000000;
    return __WASI_ERRNO_SUCCESS;
}

WEAK __wasi_errno_t __wasi_clock_res_get(__wasi_clockid_t id, __wasi_timestamp_t *out) {
    (void)id;
    *out = 1000000;
    return __WASI_ERRNO_SUCCESS;
}

WEAK __wasi_errno_t __wasi_random_get(uint8_t *buf, __wasi_size_t n) {
    nacre_random(buf, n);
    return __WASI_ERRNO_SUCCESS;
}

WEAK _Noreturn void __wasi_proc_exit(__wasi_exitcode_t code) {
    (void)code;
    nacre_abort("the program called exit");
}

/* Whose a folder is: one process at a time, one network for ever. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include "store/store.h"

#define CLAIM_PATH_MAX 4096
#define HOLDER_MAX 32
#define NETWORK_MAX 128

static err_t make_path(char out[CLAIM_PATH_MAX], const char *dir, const char *name, struct fault *f) {
    int n = snprintf(out, CLAIM_PATH_MAX, "%s/%s", dir, name);
    return n > 0 && n < CLAIM_PATH_MAX ? OK : fault_set(f, E_TOO_BIG, "path of %zu bytes", strlen(dir));
}

/* The kernel lets go of the lock when the process ends, however it ends. */
err_t dir_lock(int *lock, const char *dir, struct fault *f) {
    char path[CLAIM_PATH_MAX];
    TRY(make_path(path, dir, "lock", f));
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return fault_set(f, E_IO, "%s: %s", path, strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int cause = errno;
        char holder[HOLDER_MAX] = {0};
        ssize_t got = pread(fd, holder, sizeof holder - 1, 0);
        (void)close(fd);
        if (cause != EWOULDBLOCK) return fault_set(f, E_IO, "%s: %s", path, strerror(cause));
        holder[got > 0 ? strspn(holder, "0123456789") : 0] = 0;
        return fault_set(f, E_BUSY, "%s is in use by process %s; stop it, or use another directory", dir,
                         holder[0] != 0 ? holder : "(unknown)");
    }
    char text[HOLDER_MAX];
    int size = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    /* Only a hint for people: a full disk must not keep the folder from being used. */
    if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)size, 0) != size) errno = 0;
    *lock = fd;
    return OK;
}

err_t dir_bind(const char *dir, const char *chain_id, struct fault *f) {
    char path[CLAIM_PATH_MAX], held[NETWORK_MAX + 1];
    struct buf file;
    TRY(make_path(path, dir, "network", f));
    buf_init(&file, NETWORK_MAX);
    err_t err = file_read(&file, path, NETWORK_MAX, f);
    memcpy(held, file.data ? file.data : (const uint8_t *)"", file.size);
    held[file.size] = 0;
    buf_fini(&file);
    if (err == E_NOT_FOUND || (err == OK && held[0] == 0)) return file_write(path, bytes_str(chain_id), 0600, f);
    if (err != OK) return err;
    if (strcmp(held, chain_id) == 0) return OK;
    (void)fault_set(f, E_WRONG_NETWORK, "%s belongs to network %s, genesis is of %s", dir, held, chain_id);
    if (f) f->remedy = "use the genesis file of the folder's network, or another folder";
    return E_WRONG_NETWORK;
}

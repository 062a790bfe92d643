/* Whole files that are there in full or not at all, also after a power cut. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/store.h"

#define FILE_PATH_MAX 4096
#define READ_STEP (64u << 10)

static err_t io_fault(struct fault *f, const char *what, const char *path) {
    return fault_set(f, E_IO, "cannot %s %s: %s", what, path, strerror(errno));
}

static err_t write_all(int fd, struct bytes x) {
    while (x.size > 0) {
        ssize_t n = write(fd, x.data, x.size);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return E_IO;
        x = bytes_of(x.data + n, x.size - (size_t)n);
    }
    return OK;
}

/* A rename or a new name is durable only once its folder is. */
static err_t sync_folder(const char *path) {
    char folder[FILE_PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t size = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
    if (size >= sizeof folder) return E_IO;
    if (size == 0) {
        memcpy(folder, ".", 2);
    } else {
        memcpy(folder, path, size);
        folder[size] = 0;
    }
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return E_IO;
    int rc = fsync(fd), cause = errno;
    (void)close(fd);
    errno = cause;
    return rc == 0 ? OK : E_IO;
}

err_t file_read(struct buf *out, const char *path, size_t max, struct fault *f) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) return fault_set(f, E_NOT_FOUND, "there is no file %s", path);
    if (fd < 0) return io_fault(f, "open", path);
    size_t start = out->size;
    err_t err = OK;
    for (;;) {
        uint8_t step[READ_STEP];
        ssize_t n = read(fd, step, sizeof step);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) err = io_fault(f, "read", path);
        if (n <= 0) break;
        if ((size_t)n > max - (out->size - start)) {
            err = fault_set(f, E_TOO_BIG, "%s is larger than %zu bytes", path, max);
            break;
        }
        buf_put(out, step, (size_t)n);
        err = buf_err(out);
        if (err != OK) {
            err = fault_set(f, err, "%s", path);
            break;
        }
    }
    (void)close(fd);
    if (err != OK && buf_err(out) == OK) out->size = start; /* nothing of a file that was not read in full */
    return err;
}

err_t file_write(const char *path, struct bytes contents, unsigned mode, struct fault *f) {
    char tmp[FILE_PATH_MAX];
    int n = snprintf(tmp, sizeof tmp, "%s.tmp", path);
    if (n < 0 || (size_t)n >= sizeof tmp) return fault_set(f, E_TOO_BIG, "path of %zu bytes", strlen(path));
    /* One left by a crash may have other rights or be somebody's link: it is removed, never written through. */
    (void)unlink(tmp);
    int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, (mode_t)mode);
    if (fd < 0) return io_fault(f, "create", tmp);
    err_t err = OK;
    if (fchmod(fd, (mode_t)mode) != 0 || write_all(fd, contents) != OK || fsync(fd) != 0) {
        err = io_fault(f, "write", tmp);
    }
    if (close(fd) != 0 && err == OK) err = io_fault(f, "write", tmp);
    if (err == OK && rename(tmp, path) != 0) err = io_fault(f, "replace", path);
    if (err != OK) {
        (void)unlink(tmp);
        return err;
    }
    return sync_folder(path) == OK ? OK : io_fault(f, "sync the folder of", path);
}

err_t file_append(const char *path, struct bytes contents, unsigned mode, struct fault *f) {
    bool is_new = access(path, F_OK) != 0;
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, (mode_t)mode);
    if (fd < 0) return io_fault(f, "open", path);
    err_t err = OK;
    off_t end = lseek(fd, 0, SEEK_END);
    if (end < 0 || write_all(fd, contents) != OK || fdatasync(fd) != 0) {
        err = io_fault(f, "append to", path);
        /* A torn record would hide every later one; if even this fails, the reader has to cope with it. */
        if (end >= 0 && ftruncate(fd, end) != 0) err = E_IO;
    }
    if (close(fd) != 0 && err == OK) err = io_fault(f, "append to", path);
    if (err == OK && is_new && sync_folder(path) != OK) err = io_fault(f, "sync the folder of", path);
    return err;
}

err_t file_remove(const char *path, struct fault *f) {
    if (unlink(path) != 0) return errno == ENOENT ? OK : io_fault(f, "remove", path);
    return sync_folder(path) == OK ? OK : io_fault(f, "sync the folder of", path);
}

err_t dir_create(const char *path, struct fault *f) {
    char part[FILE_PATH_MAX];
    size_t size = strlen(path);
    if (size == 0 || size >= sizeof part) return fault_set(f, E_RANGE, "a folder's path of %zu bytes", size);
    memcpy(part, path, size + 1);
    for (size_t i = 1; i <= size; i++) {
        if (part[i] != '/' && part[i] != 0) continue;
        char end = part[i];
        part[i] = 0;
        if (mkdir(part, 0700) != 0 && errno != EEXIST) return io_fault(f, "create the folder", part);
        part[i] = end;
    }
    struct stat s;
    if (stat(path, &s) != 0) return io_fault(f, "open the folder", path);
    return S_ISDIR(s.st_mode) ? OK : fault_set(f, E_IO, "%s is not a folder", path);
}

/* Snapshot files between workers: handed out piece by piece as they lie on disk, sealed, and put together again. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/refusal.h"
#include "process.h"

#define PIECE (8u << 20)
#define HEAD 48 /* magic, epoch, salt: names one snapshot among its successors */
#define CALL_MS 30000

/* Reads at most PIECE bytes from an offset; head gets the file's first bytes. The file may be replaced meanwhile, so both
 * come from one open file. */
static err_t read_piece(struct buf *out, uint8_t head[HEAD], const char *path, uint64_t from, struct fault *f) {
    struct stat info;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return fault_set(f, E_NOT_FOUND, "no snapshot of this cluster yet");
    err_t err = OK;
    if (fstat(file, &info) != 0 || pread(file, head, HEAD, 0) != HEAD) err = fault_set(f, E_IO, "%s", path);
    uint64_t size = err == OK ? (uint64_t)info.st_size : 0;
    size_t take = from >= size ? 0 : size - from < PIECE ? (size_t)(size - from) : PIECE;
    uint8_t *at = err == OK && take > 0 ? buf_extend(out, take) : NULL;
    if (err == OK && take > 0 && !at) err = fault_set(f, E_NO_MEMORY, "a piece of %zu bytes", take);
    for (size_t done = 0; err == OK && done < take;) {
        ssize_t n = pread(file, at + done, take - done, (off_t)(from + done));
        if (n <= 0)
            err = fault_set(f, E_IO, "%s", path);
        else
            done += (size_t)n;
    }
    (void)close(file);
    return err;
}

err_t snapshot_serve(struct process *p, const struct net_request *r, const char *name, struct buf *out,
                     struct fault *f) {
    char path[512], hex[2 * HEAD + 1], *end = NULL;
    uint8_t head[HEAD];
    uint64_t from = 0;
    unsigned long cluster = strtoul(name, &end, 10);
    const char *tag = net_param(r, "tag");
    if (end == name || *end || net_param_u64(&from, r, "from") != OK) {
        return fault_set(f, E_MALFORMED, "/v1/snapshot/%s, expected a cluster and from=OFFSET", name);
    }
    (void)snprintf(path, sizeof path, "%s/clusters/%lu.snapshot", p->options.dir, cluster);
    TRY(read_piece(out, head, path, from, f));
    hex_encode(hex, BYTES(head));
    if (tag && strcmp(tag, hex) != 0) return fault_set(f, E_STALE, "a newer snapshot has taken its place");
    return OK;
}

err_t snapshot_fetch(struct net_client *client, const char *endpoint, uint64_t cluster, struct buf *out,
                     struct fault *f) {
    char path[NET_PATH_MAX], hex[2 * HEAD + 1] = "";
    for (;;) {
        struct buf piece;
        unsigned status = 0;
        (void)snprintf(path, sizeof path, "/v1/snapshot/%lu?from=%zu%s%s", (unsigned long)cluster, out->size,
                       hex[0] ? "&tag=" : "", hex);
        buf_init(&piece, LIMIT_HTTP_RESPONSE);
        err_t err = net_call(client, &status, &piece, NET_GET, endpoint, path, BYTES_NONE, false, CALL_MS, f);
        if (err == OK && status >= 400) err = refusal_read(f, status, buf_bytes(&piece));
        size_t size = piece.size;
        if (err == OK) buf_put_bytes(out, buf_bytes(&piece));
        buf_fini(&piece);
        TRY(err);
        TRY(buf_err(out));
        if (out->size < HEAD) return fault_set(f, E_MALFORMED, "a snapshot of %zu bytes", out->size);
        hex_encode(hex, bytes_of(out->data, HEAD));
        if (size < PIECE) return OK;
    }
}

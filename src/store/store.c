/* LMDB behind store.h. Readers are not tied to threads (MDB_NOTLS), a commit syncs data and then the meta page, and a lock
 * file of our own keeps a second process out: LMDB itself would let it in. */
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define STORE_PATH_MAX 4096
#define STORE_READERS 1024 /* read transactions at once: one per HTTP handler thread, with room */

struct store {
    MDB_env *env;
    MDB_dbi tables[STORE_TABLES_MAX];
    size_t table_count;
    int lock_fd;
};

struct store_txn {
    struct store *store;
    MDB_txn *txn;
};

/* Our code for LMDB's; errno keeps the cause of E_IO for the caller's log. */
static err_t error_of(int rc) {
    switch (rc) {
    case MDB_SUCCESS: return OK;
    case MDB_NOTFOUND: return E_NOT_FOUND;
    case MDB_INVALID:
    case MDB_CORRUPTED:
    case MDB_VERSION_MISMATCH:
    case MDB_PAGE_NOTFOUND: return E_CORRUPT;
    case MDB_MAP_FULL: errno = ENOSPC; return E_IO;
    case MDB_PANIC: errno = EIO; return E_IO;
    case MDB_READERS_FULL: return E_LIMIT;
    case MDB_BAD_VALSIZE: return E_TOO_BIG;
    case ENOMEM: return E_NO_MEMORY;
    default: break;
    }
    errno = rc > 0 ? rc : EIO;
    return E_IO;
}

static err_t open_error(int rc, const char *dir, struct fault *f) {
    err_t err = error_of(rc);
    if (err == E_NOT_FOUND) err = E_CORRUPT; /* a file without its root is not a database of ours */
    return fault_set(f, err, "database %s: %s", dir, mdb_strerror(rc));
}

static err_t open_tables(struct store *s, const char *const *tables, struct fault *f, const char *dir) {
    MDB_txn *txn = NULL;
    int rc = mdb_txn_begin(s->env, NULL, 0, &txn);
    for (size_t i = 0; rc == MDB_SUCCESS && i < s->table_count; i++) {
        rc = mdb_dbi_open(txn, tables[i], MDB_CREATE, &s->tables[i]);
    }
    if (rc == MDB_SUCCESS) {
        rc = mdb_txn_commit(txn);
    } else if (txn != NULL) {
        mdb_txn_abort(txn);
    }
    return rc == MDB_SUCCESS ? OK : open_error(rc, dir, f);
}

/* A file cut short (a bad copy, a full disk while copying) would end the process by a signal at the first read of what is
 * missing. */
static err_t check_length(const struct store *s, const char *dir, struct fault *f) {
    int fd = -1;
    struct stat file;
    if (mdb_env_get_fd(s->env, &fd) != MDB_SUCCESS || fstat(fd, &file) != 0) {
        return fault_set(f, E_IO, "database %s: %s", dir, strerror(errno));
    }
    uint64_t need = store_size(s);
    if ((uint64_t)file.st_size >= need) return OK;
    return fault_set(f, E_CORRUPT, "database %s has %lld of %llu bytes", dir, (long long)file.st_size,
                     (unsigned long long)need);
}

err_t store_open(struct store **out, const char *dir, const char *const *tables, size_t table_count, size_t map_size,
                 struct fault *f) {
    if (table_count == 0 || table_count > STORE_TABLES_MAX) return fault_set(f, E_RANGE, "%zu tables", table_count);
    TRY(dir_create(dir, f));
    struct store *s = calloc(1, sizeof *s);
    if (s == NULL) return fault_set(f, E_NO_MEMORY, "database %s", dir);
    s->lock_fd = -1;
    s->table_count = table_count;
    err_t err = dir_lock(&s->lock_fd, dir, f);
    if (err != OK) goto fail;
    int rc = mdb_env_create(&s->env);
    if (rc == MDB_SUCCESS) rc = mdb_env_set_maxdbs(s->env, (MDB_dbi)table_count);
    if (rc == MDB_SUCCESS) rc = mdb_env_set_maxreaders(s->env, STORE_READERS);
    if (rc == MDB_SUCCESS) rc = mdb_env_set_mapsize(s->env, map_size);
    if (rc == MDB_SUCCESS) rc = mdb_env_open(s->env, dir, MDB_NOTLS | MDB_NORDAHEAD, 0600);
    if (rc != MDB_SUCCESS) {
        err = open_error(rc, dir, f);
        goto fail;
    }
    err = check_length(s, dir, f);
    if (err == OK) err = open_tables(s, tables, f, dir);
    if (err != OK) goto fail;
    *out = s;
    return OK;
fail:
    store_close(s);
    return err;
}

void store_close(struct store *s) {
    if (s == NULL) return;
    if (s->env != NULL) mdb_env_close(s->env);
    if (s->lock_fd >= 0) (void)close(s->lock_fd);
    free(s);
}

uint64_t store_size(const struct store *s) {
    MDB_envinfo info;
    MDB_stat stat;
    if (mdb_env_info(s->env, &info) != MDB_SUCCESS || mdb_env_stat(s->env, &stat) != MDB_SUCCESS) return 0;
    return ((uint64_t)info.me_last_pgno + 1) * stat.ms_psize;
}

err_t store_begin(struct store_txn **out, struct store *s, bool write) {
    struct store_txn *t = malloc(sizeof *t);
    if (t == NULL) return E_NO_MEMORY;
    t->store = s;
    int rc = mdb_txn_begin(s->env, NULL, write ? 0 : MDB_RDONLY, &t->txn);
    if (rc != MDB_SUCCESS) {
        free(t);
        return error_of(rc);
    }
    *out = t;
    return OK;
}

err_t store_commit(struct store_txn *t) {
    int rc = mdb_txn_commit(t->txn);
    free(t);
    return error_of(rc);
}

void store_abort(struct store_txn *t) {
    if (t == NULL) return;
    mdb_txn_abort(t->txn);
    free(t);
}

/* LMDB wants non-const and writes neither keys nor values. */
static MDB_val val_of(struct bytes x) {
    union {
        const uint8_t *in;
        void *out;
    } cast = {x.data};
    return (MDB_val){x.size, cast.out};
}

static struct bytes bytes_of_val(MDB_val v) {
    return bytes_of(v.mv_data, v.mv_size);
}

static err_t check_key(const struct store_txn *t, size_t table, struct bytes key) {
    if (table >= t->store->table_count) return E_RANGE;
    return key.size == 0 || key.size > STORE_KEY_MAX ? E_TOO_BIG : OK;
}

err_t store_get(struct store_txn *t, size_t table, struct bytes *value, struct bytes key) {
    TRY(check_key(t, table, key));
    MDB_val k = val_of(key), v;
    TRY(error_of(mdb_get(t->txn, t->store->tables[table], &k, &v)));
    *value = bytes_of_val(v);
    return OK;
}

err_t store_put(struct store_txn *t, size_t table, struct bytes key, struct bytes value) {
    TRY(check_key(t, table, key));
    MDB_val k = val_of(key), v = val_of(value);
    return error_of(mdb_put(t->txn, t->store->tables[table], &k, &v, 0));
}

err_t store_del(struct store_txn *t, size_t table, struct bytes key) {
    TRY(check_key(t, table, key));
    MDB_val k = val_of(key);
    return error_of(mdb_del(t->txn, t->store->tables[table], &k, NULL));
}

err_t store_scan(struct store_txn *t, size_t table, struct bytes from,
                 bool (*visit)(void *ctx, struct bytes key, struct bytes value), void *ctx) {
    if (table >= t->store->table_count) return E_RANGE;
    if (from.size > STORE_KEY_MAX) return E_TOO_BIG;
    MDB_cursor *cursor = NULL;
    TRY(error_of(mdb_cursor_open(t->txn, t->store->tables[table], &cursor)));
    MDB_val k = val_of(from), v;
    int rc = mdb_cursor_get(cursor, &k, &v, from.size == 0 ? MDB_FIRST : MDB_SET_RANGE);
    while (rc == MDB_SUCCESS && visit(ctx, bytes_of_val(k), bytes_of_val(v))) {
        rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? OK : error_of(rc);
}

err_t store_last(struct store_txn *t, size_t table, struct bytes *key, struct bytes *value) {
    if (table >= t->store->table_count) return E_RANGE;
    MDB_cursor *cursor = NULL;
    TRY(error_of(mdb_cursor_open(t->txn, t->store->tables[table], &cursor)));
    MDB_val k, v;
    int rc = mdb_cursor_get(cursor, &k, &v, MDB_LAST);
    mdb_cursor_close(cursor);
    TRY(error_of(rc));
    *key = bytes_of_val(k);
    *value = bytes_of_val(v);
    return OK;
}

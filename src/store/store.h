/* Files and databases: LMDB behind a small ordered key-value interface, and durable file operations. No decisions here. */
#ifndef NACRE_STORE_STORE_H
#define NACRE_STORE_STORE_H

#include "base/bytes.h"

#define STORE_TABLES_MAX 16
#define STORE_KEY_MAX 500

struct store;
struct store_txn;

/* Opens or creates the database directory with these tables; one process at a time (a lock file; E_BUSY names the holder).
 * map_size: most bytes it may grow to. E_IO, E_CORRUPT. */
err_t store_open(struct store **out, const char *dir, const char *const *tables, size_t table_count, size_t map_size,
                 struct fault *f) MUST_CHECK;
void store_close(struct store *s); /* NULL is fine */
/* From now on, a crash of this process inside LMDB or in its file says that the data is damaged, and ends it with status 1.
 * Other crashes stay what they are. LMDB has no checksums: damage is noticed where it is read, or not at all. */
void store_explain_crashes(void);
/* Bytes of the database file in use. */
uint64_t store_size(const struct store *s);

/* One writer at a time; readers see the last committed state. A transaction belongs to one thread. */
err_t store_begin(struct store_txn **out, struct store *s, bool write) MUST_CHECK;
/* Durable when it returns OK. E_IO also for a full disk: then nothing changed, the store stays usable and errno has the cause.
 * Ends the transaction in any case. */
err_t store_commit(struct store_txn *t) MUST_CHECK;
void store_abort(struct store_txn *t); /* NULL is fine */

/* Values are borrowed until the transaction ends or writes. E_NOT_FOUND; E_TOO_BIG: an empty key or one beyond
 * STORE_KEY_MAX. */
err_t store_get(struct store_txn *t, size_t table, struct bytes *value, struct bytes key) MUST_CHECK;
err_t store_put(struct store_txn *t, size_t table, struct bytes key, struct bytes value) MUST_CHECK;
err_t store_del(struct store_txn *t, size_t table, struct bytes key) MUST_CHECK; /* E_NOT_FOUND */
/* Calls visit for each entry with key >= from in order until it returns false. store_last: E_NOT_FOUND if there is none. */
err_t store_scan(struct store_txn *t, size_t table, struct bytes from,
                 bool (*visit)(void *ctx, struct bytes key, struct bytes value), void *ctx) MUST_CHECK;
err_t store_last(struct store_txn *t, size_t table, struct bytes *key, struct bytes *value) MUST_CHECK;

/* Whole files. Reading appends and refuses more than max bytes (E_TOO_BIG). Writing is atomic (PATH.tmp, fsync, rename, fsync
 * of the folder) with the given mode; one writer per path. Appending creates, writes and fdatasyncs, and takes a part that
 * was written back when it fails. E_NOT_FOUND, E_IO with path and cause in f. */
err_t file_read(struct buf *out, const char *path, size_t max, struct fault *f) MUST_CHECK;
err_t file_write(const char *path, struct bytes contents, unsigned mode, struct fault *f) MUST_CHECK;
err_t file_append(const char *path, struct bytes contents, unsigned mode, struct fault *f) MUST_CHECK;
err_t file_remove(const char *path, struct fault *f) MUST_CHECK; /* OK if it was not there */
/* mkdir -p with mode 0700. */
err_t dir_create(const char *path, struct fault *f) MUST_CHECK;
/* Takes DIR/lock for this process until *lock is closed. E_BUSY names the holder; E_IO. store_open does it by itself. */
err_t dir_lock(int *lock, const char *dir, struct fault *f) MUST_CHECK;
/* Ties DIR to one network, by the file DIR/network, at its first use. E_WRONG_NETWORK names both; E_IO. */
err_t dir_bind(const char *dir, const char *chain_id, struct fault *f) MUST_CHECK;

#endif

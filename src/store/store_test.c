#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/store.h"
#include "store/testing.h"

enum { A, B, TABLES };
static const char *const names[TABLES] = {"a", "b"};
#define MAP_SIZE (64u << 20)

static struct store *open_at(const char *dir) {
    struct store *s = NULL;
    struct fault f = {0};
    err_t err = store_open(&s, dir, names, TABLES, MAP_SIZE, &f);
    if (err != OK) fail_msg("store_open: %s", f.detail);
    return s;
}

static err_t put_one(struct store *s, size_t table, const char *key, struct bytes value) {
    struct store_txn *t = NULL;
    TRY(store_begin(&t, s, true));
    err_t err = store_put(t, table, bytes_str(key), value);
    if (err != OK) {
        store_abort(t);
        return err;
    }
    return store_commit(t);
}

static err_t get_one(struct store *s, size_t table, char out[64], const char *key) {
    struct store_txn *t = NULL;
    TRY(store_begin(&t, s, false));
    struct bytes value;
    err_t err = store_get(t, table, &value, bytes_str(key));
    if (err == OK) (void)snprintf(out, 64, "%.*s", (int)value.size, (const char *)value.data);
    store_abort(t);
    return err;
}

static void test_put_get_del(void **state) {
    (void)state;
    struct test_folder folder = test_folder_make();
    struct store *s = open_at(folder.path);
    char got[64];
    assert_int_equal(get_one(s, A, got, "k"), E_NOT_FOUND);
    assert_int_equal(put_one(s, A, "k", bytes_str("one")), OK);
    assert_int_equal(put_one(s, A, "k", bytes_str("two")), OK);
    assert_int_equal(put_one(s, B, "k", bytes_str("other")), OK);
    assert_int_equal(put_one(s, B, "empty", BYTES_NONE), OK);
    assert_int_equal(get_one(s, A, got, "k"), OK);
    assert_string_equal(got, "two");
    assert_int_equal(get_one(s, B, got, "empty"), OK);
    assert_string_equal(got, "");
    struct store_txn *t = NULL;
    assert_int_equal(store_begin(&t, s, true), OK);
    assert_int_equal(store_del(t, A, bytes_str("k")), OK);
    assert_int_equal(store_del(t, A, bytes_str("k")), E_NOT_FOUND);
    store_abort(t);
    assert_int_equal(get_one(s, A, got, "k"), OK);
    store_close(s);

    s = open_at(folder.path);
    assert_int_equal(get_one(s, A, got, "k"), OK);
    assert_string_equal(got, "two");
    assert_true(store_size(s) > 0);
    store_close(s);
    test_folder_remove(&folder);
}

static void test_limits(void **state) {
    (void)state;
    struct test_folder folder = test_folder_make();
    struct store *s = open_at(folder.path);
    uint8_t key[STORE_KEY_MAX + 1] = {1};
    struct store_txn *t = NULL;
    struct bytes value;
    assert_int_equal(store_begin(&t, s, true), OK);
    assert_int_equal(store_put(t, A, bytes_of(key, STORE_KEY_MAX), BYTES_NONE), OK);
    assert_int_equal(store_put(t, A, BYTES(key), BYTES_NONE), E_TOO_BIG);
    assert_int_equal(store_put(t, A, BYTES_NONE, BYTES_NONE), E_TOO_BIG);
    assert_int_equal(store_put(t, TABLES, bytes_str("k"), BYTES_NONE), E_RANGE);
    assert_int_equal(store_get(t, A, &value, BYTES(key)), E_TOO_BIG);
    assert_int_equal(store_get(t, TABLES, &value, bytes_str("k")), E_RANGE);
    assert_int_equal(store_del(t, TABLES, bytes_str("k")), E_RANGE);
    assert_int_equal(store_scan(t, TABLES, BYTES_NONE, NULL, NULL), E_RANGE);
    assert_int_equal(store_last(t, TABLES, &value, &value), E_RANGE);
    store_abort(t);
    struct fault f = {0};
    struct store *none = NULL;
    assert_int_equal(store_open(&none, folder.path, names, 0, MAP_SIZE, &f), E_RANGE);
    assert_int_equal(store_open(&none, folder.path, names, STORE_TABLES_MAX + 1, MAP_SIZE, &f), E_RANGE);
    assert_null(none);
    store_close(s);
    store_close(NULL);
    store_abort(NULL);
    test_folder_remove(&folder);
}

struct collected {
    char text[64];
    size_t left;
};

static bool collect(void *ctx, struct bytes key, struct bytes value) {
    struct collected *c = ctx;
    (void)value;
    strncat(c->text, (const char *)key.data, key.size);
    return --c->left > 0;
}

static void test_scan_and_last(void **state) {
    (void)state;
    struct test_folder folder = test_folder_make();
    struct store *s = open_at(folder.path);
    struct store_txn *t = NULL;
    struct bytes key, value;
    assert_int_equal(store_begin(&t, s, true), OK);
    assert_int_equal(store_last(t, A, &key, &value), E_NOT_FOUND);
    assert_int_equal(store_scan(t, A, BYTES_NONE, collect, &(struct collected){"", 9}), OK);
    for (const char *k = "dbca"; *k != 0; k++) {
        assert_int_equal(store_put(t, A, bytes_of(k, 1), bytes_str("v")), OK);
    }
    struct collected all = {"", 9}, from_b = {"", 9}, two = {"", 2}, beyond = {"", 9};
    assert_int_equal(store_scan(t, A, BYTES_NONE, collect, &all), OK);
    assert_string_equal(all.text, "abcd");
    assert_int_equal(store_scan(t, A, bytes_str("aa"), collect, &from_b), OK);
    assert_string_equal(from_b.text, "bcd");
    assert_int_equal(store_scan(t, A, BYTES_NONE, collect, &two), OK);
    assert_string_equal(two.text, "ab");
    assert_int_equal(store_scan(t, A, bytes_str("e"), collect, &beyond), OK);
    assert_string_equal(beyond.text, "");
    assert_int_equal(store_last(t, A, &key, &value), OK);
    assert_memory_equal(key.data, "d", 1);
    store_abort(t);
    store_close(s);
    test_folder_remove(&folder);
}

/* What a reader sees while a writer commits is the state at its own begin. */
static void test_snapshot_of_reader(void **state) {
    (void)state;
    struct test_folder folder = test_folder_make();
    struct store *s = open_at(folder.path);
    assert_int_equal(put_one(s, A, "k", bytes_str("old")), OK);
    struct store_txn *reader = NULL;
    assert_int_equal(store_begin(&reader, s, false), OK);
    assert_int_equal(put_one(s, A, "k", bytes_str("new")), OK);
    struct bytes value;
    assert_int_equal(store_get(reader, A, &value, bytes_str("k")), OK);
    assert_memory_equal(value.data, "old", 3);
    store_abort(reader);
    char got[64];
    assert_int_equal(get_one(s, A, got, "k"), OK);
    assert_string_equal(got, "new");
    store_close(s);
    test_folder_remove(&folder);
}

static void test_second_opener_is_told_the_holder(void **state) {
    (void)state;
    struct test_folder folder = test_folder_make();
    struct store *s = open_at(folder.path);
    int status = 0;
    char want[64];
    (void)snprintf(want, sizeof want, "in use by process %ld;", (long)getpid());
    pid_t child = fork();
    if (child == 0) {
        struct store *second = NULL;
        struct fault f = {0};
        err_t err = store_open(&second, folder.path, names, TABLES, MAP_SIZE, &f);
        _exit(err == E_BUSY && strstr(f.detail, want) != NULL ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    /* The same within one process. */
    struct store *second = NULL;
    struct fault f = {0};
    assert_int_equal(store_open(&second, folder.path, names, TABLES, MAP_SIZE, &f), E_BUSY);
    assert_null(second);
    store_close(s);
    store_close(open_at(folder.path));
    test_folder_remove(&folder);
}

static void damage(const char *dir, const char *bytes, size_t size, off_t cut) {
    char path[128];
    (void)snprintf(path, sizeof path, "%s/data.mdb", dir);
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    assert_true(fd >= 0);
    if (cut >= 0) assert_int_equal(ftruncate(fd, cut), 0);
    for (off_t at = 0; size > 0 && at < 8192; at += 4096) {
        assert_int_equal(pwrite(fd, bytes, size, at), (ssize_t)size);
    }
    assert_int_equal(close(fd), 0);
}

static void test_damaged_files_are_refused(void **state) {
    (void)state;
    char junk[4096];
    memset(junk, 'x', sizeof junk);
    for (int way = 0; way < 3; way++) {
        struct test_folder folder = test_folder_make();
        struct store *s = open_at(folder.path);
        uint8_t value[100000] = {1};
        assert_int_equal(put_one(s, A, "k", BYTES(value)), OK);
        store_close(s);
        if (way == 0) damage(folder.path, junk, sizeof junk, -1); /* wrong magic */
        if (way == 1) damage(folder.path, "", 0, 50000);          /* a copy cut short */
        if (way == 2) damage(folder.path, "", 0, 100);            /* not even a first page */
        struct fault f = {0};
        assert_int_equal(store_open(&s, folder.path, names, TABLES, MAP_SIZE, &f), E_CORRUPT);
        assert_non_null(strstr(f.detail, folder.path));
        test_folder_remove(&folder);
    }
}

/* What a damaged page does to LMDB, done by hand: a read of its file behind the end. */
static void test_crashes_are_explained(void **state) {
    (void)state;
    for (int inside = 0; inside < 2; inside++) {
        struct test_folder folder = test_folder_make();
        char path[128], text[256] = "";
        int status = 0, ends[2];
        assert_int_equal(pipe(ends), 0);
        pid_t child = fork();
        if (child == 0) {
            (void)dup2(ends[1], 2);
            store_explain_crashes();
            (void)snprintf(path, sizeof path, "%s/%s", folder.path, inside ? "data.mdb" : "other");
            int fd = open(path, O_RDWR | O_CREAT, 0600);
            const volatile char *map = mmap(NULL, 8192, PROT_READ, MAP_SHARED, fd, 0);
            _exit(map[4096] == 0 ? 3 : 4); /* the file is empty: SIGBUS */
        }
        (void)close(ends[1]);
        assert_true(read(ends[0], text, sizeof text - 1) >= 0);
        (void)close(ends[0]);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(inside ? WIFEXITED(status) && WEXITSTATUS(status) == 1
                                : !WIFEXITED(status) || WEXITSTATUS(status) > 4,
                         1);
        assert_int_equal(strstr(text, "damaged") != NULL, inside);
        test_folder_remove(&folder);
    }
}

static void test_unusable_folder(void **state) {
    (void)state;
    struct fault f = {0};
    struct store *s = NULL;
    assert_int_equal(store_open(&s, "/dev/null/x", names, TABLES, MAP_SIZE, &f), E_IO);
    assert_non_null(strstr(f.detail, "/dev/null"));
    assert_null(s);
}

/* A file size limit stands for a full disk: the write fails in the middle, the old state stays, and once there is room
 * again the same handle goes on. */
static int full_disk_child(const char *dir) {
    (void)signal(SIGXFSZ, SIG_IGN);
    struct store *s = NULL;
    if (store_open(&s, dir, names, TABLES, MAP_SIZE, NULL) != OK) return 1;
    if (put_one(s, A, "first", bytes_str("kept")) != OK) return 2;
    struct rlimit before, tight;
    if (getrlimit(RLIMIT_FSIZE, &before) != 0) return 3;
    tight = (struct rlimit){store_size(s) + 8192, before.rlim_max};
    if (setrlimit(RLIMIT_FSIZE, &tight) != 0) return 3;
    static uint8_t big[1 << 20];
    char got[64];
    if (put_one(s, A, "second", BYTES(big)) != E_IO || errno == 0) return 4;
    if (get_one(s, A, got, "first") != OK || strcmp(got, "kept") != 0) return 5;
    if (get_one(s, A, got, "second") != E_NOT_FOUND) return 6;
    if (setrlimit(RLIMIT_FSIZE, &before) != 0) return 3;
    if (put_one(s, A, "second", bytes_str("now")) != OK) return 7;
    store_close(s);
    if (store_open(&s, dir, names, TABLES, MAP_SIZE, NULL) != OK) return 8;
    if (get_one(s, A, got, "first") != OK || get_one(s, A, got, "second") != OK) return 9;
    store_close(s);
    return 0;
}

static void test_full_disk(void **state) {
    (void)state;
    struct test_folder folder = test_folder_make();
    int status = 0;
    pid_t child = fork();
    if (child == 0) _exit(full_disk_child(folder.path));
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_true(WIFEXITED(status));
    test_folder_remove(&folder);
}

static void test_map_full_is_io(void **state) {
    (void)state;
    struct test_folder folder = test_folder_make();
    struct store *s = NULL;
    assert_int_equal(store_open(&s, folder.path, names, TABLES, 1u << 20, NULL), OK);
    static uint8_t big[2 << 20];
    assert_int_equal(put_one(s, A, "big", BYTES(big)), E_IO);
    assert_int_equal(put_one(s, A, "small", bytes_str("fits")), OK);
    store_close(s);
    test_folder_remove(&folder);
}

/* A writer killed at any instant leaves every committed number, and nothing of one that was not. */
static void test_kill_while_writing(void **state) {
    (void)state;
    struct test_folder folder = test_folder_make();
    for (int round = 0; round < 8; round++) {
        int acks[2];
        assert_int_equal(pipe(acks), 0);
        pid_t child = fork();
        if (child == 0) {
            struct store *s = NULL;
            if (store_open(&s, folder.path, names, TABLES, MAP_SIZE, NULL) != OK) _exit(1);
            for (uint32_t i = 0;; i++) {
                uint8_t value[5000];
                memset(value, (int)(i & 0xff), sizeof value);
                char key[16];
                (void)snprintf(key, sizeof key, "%d-%u", round, i);
                if (put_one(s, i % TABLES, key, BYTES(value)) != OK) _exit(1);
                if (write(acks[1], &i, sizeof i) != sizeof i) _exit(1);
            }
        }
        (void)close(acks[1]);
        (void)usleep((useconds_t)(5000 + 7000 * round));
        (void)kill(child, SIGKILL);
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        struct store *s = open_at(folder.path);
        uint32_t i = 0, count = 0;
        while (read(acks[0], &i, sizeof i) == sizeof i) {
            char key[16];
            (void)snprintf(key, sizeof key, "%d-%u", round, i);
            struct store_txn *t = NULL;
            struct bytes value;
            assert_int_equal(store_begin(&t, s, false), OK);
            assert_int_equal(store_get(t, i % TABLES, &value, bytes_str(key)), OK);
            assert_int_equal(value.size, 5000);
            assert_int_equal(value.data[0], i & 0xff);
            assert_int_equal(value.data[4999], i & 0xff);
            store_abort(t);
            count++;
        }
        if (round == 7) assert_true(count > 0);
        store_close(s);
        (void)close(acks[0]);
    }
    test_folder_remove(&folder);
}

static void *read_often(void *ctx) {
    struct store *s = ctx;
    char got[64];
    for (int i = 0; i < 500; i++) {
        if (get_one(s, A, got, "k") != OK) return s;
    }
    return NULL;
}

static void test_readers_beside_a_writer(void **state) {
    (void)state;
    struct test_folder folder = test_folder_make();
    struct store *s = open_at(folder.path);
    assert_int_equal(put_one(s, A, "k", bytes_str("v")), OK);
    pthread_t threads[8];
    for (size_t i = 0; i < 8; i++) assert_int_equal(pthread_create(&threads[i], NULL, read_often, s), 0);
    for (int i = 0; i < 20; i++) assert_int_equal(put_one(s, A, "k", bytes_str("v")), OK);
    for (size_t i = 0; i < 8; i++) {
        void *failed = NULL;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    store_close(s);
    test_folder_remove(&folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_put_get_del),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_scan_and_last),
        cmocka_unit_test(test_snapshot_of_reader),
        cmocka_unit_test(test_second_opener_is_told_the_holder),
        cmocka_unit_test(test_damaged_files_are_refused),
        cmocka_unit_test(test_crashes_are_explained),
        cmocka_unit_test(test_unusable_folder),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_map_full_is_io),
        cmocka_unit_test(test_kill_while_writing),
        cmocka_unit_test(test_readers_beside_a_writer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

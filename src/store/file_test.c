#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/store.h"
#include "store/testing.h"

static struct test_folder folder;
static char path[128];

static int set_up(void **state) {
    (void)state;
    folder = test_folder_make();
    (void)snprintf(path, sizeof path, "%s/file", folder.path);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    test_folder_remove(&folder);
    return 0;
}

static void assert_file_is(const char *text) {
    struct buf b;
    buf_init(&b, 1000);
    assert_int_equal(file_read(&b, path, 1000, NULL), OK);
    assert_true(bytes_equal(buf_bytes(&b), bytes_str(text)));
    buf_fini(&b);
}

static unsigned mode_of(const char *name) {
    struct stat s;
    assert_int_equal(stat(name, &s), 0);
    return s.st_mode & 0777;
}

static void test_write_read(void **state) {
    (void)state;
    assert_int_equal(file_write(path, bytes_str("one"), 0600, NULL), OK);
    assert_file_is("one");
    assert_int_equal(mode_of(path), 0600);
    assert_int_equal(file_write(path, bytes_str("second"), 0644, NULL), OK);
    assert_file_is("second");
    assert_int_equal(mode_of(path), 0644);
    assert_int_equal(file_write(path, BYTES_NONE, 0600, NULL), OK);
    assert_file_is("");
    assert_int_equal(file_remove(path, NULL), OK);
    assert_int_equal(file_remove(path, NULL), OK);
    assert_int_not_equal(access(path, F_OK), 0);
}

static void test_read_refusals(void **state) {
    (void)state;
    struct fault f = {0};
    struct buf b;
    buf_init(&b, 1000);
    buf_put_str(&b, "before");
    assert_int_equal(file_read(&b, path, 100, &f), E_NOT_FOUND);
    assert_non_null(strstr(f.detail, path));
    assert_int_equal(file_write(path, bytes_str("0123456789"), 0600, NULL), OK);
    assert_int_equal(file_read(&b, path, 9, &f), E_TOO_BIG);
    assert_non_null(strstr(f.detail, "9 bytes"));
    assert_int_equal(b.size, 6); /* nothing of it was left behind */
    assert_int_equal(file_read(&b, path, 10, NULL), OK);
    assert_true(bytes_equal(buf_bytes(&b), bytes_str("before0123456789")));
    assert_int_equal(file_read(&b, folder.path, 10, &f), E_IO);
    buf_fini(&b);
    buf_init(&b, 5); /* the buffer's own cap */
    assert_int_equal(file_read(&b, path, 10, &f), E_TOO_BIG);
    buf_fini(&b);
}

/* What a crash left is neither followed nor kept. */
static void test_left_over_temporary(void **state) {
    (void)state;
    char tmp[140], victim[140];
    (void)snprintf(tmp, sizeof tmp, "%s.tmp", path);
    (void)snprintf(victim, sizeof victim, "%s/victim", folder.path);
    assert_int_equal(file_write(victim, bytes_str("precious"), 0644, NULL), OK);
    assert_int_equal(symlink(victim, tmp), 0);
    assert_int_equal(file_write(path, bytes_str("secret"), 0600, NULL), OK);
    assert_file_is("secret");
    assert_int_equal(mode_of(path), 0600);
    struct buf b;
    buf_init(&b, 100);
    assert_int_equal(file_read(&b, victim, 100, NULL), OK);
    assert_true(bytes_equal(buf_bytes(&b), bytes_str("precious")));
    buf_fini(&b);
    assert_int_not_equal(access(tmp, F_OK), 0);
}

static void test_append(void **state) {
    (void)state;
    assert_int_equal(file_append(path, bytes_str("ab"), 0600, NULL), OK);
    assert_int_equal(file_append(path, BYTES_NONE, 0600, NULL), OK);
    assert_int_equal(file_append(path, bytes_str("cd"), 0600, NULL), OK);
    assert_file_is("abcd");
    assert_int_equal(mode_of(path), 0600);
    struct fault f = {0};
    assert_int_equal(file_append(folder.path, bytes_str("x"), 0600, &f), E_IO);
    assert_non_null(strstr(f.detail, folder.path));
}

/* 1: the old contents stay, 2: no temporary, 3: an append leaves no half, 4: afterwards all is well again. */
static int full_disk_child(void) {
    (void)signal(SIGXFSZ, SIG_IGN);
    static uint8_t big[100000];
    struct rlimit before;
    struct fault f = {0};
    if (file_write(path, bytes_str("old"), 0600, NULL) != OK || getrlimit(RLIMIT_FSIZE, &before) != 0) return 9;
    if (setrlimit(RLIMIT_FSIZE, &(struct rlimit){5000, before.rlim_max}) != 0) return 9;
    if (file_write(path, BYTES(big), 0600, &f) != E_IO || strstr(f.detail, "File too large") == NULL) return 1;
    char tmp[140];
    (void)snprintf(tmp, sizeof tmp, "%s.tmp", path);
    if (access(tmp, F_OK) == 0) return 2;
    if (file_append(path, BYTES(big), 0600, &f) != E_IO) return 3;
    struct buf b;
    buf_init(&b, 200000);
    if (file_read(&b, path, 200000, NULL) != OK || !bytes_equal(buf_bytes(&b), bytes_str("old"))) return 3;
    buf_fini(&b);
    if (setrlimit(RLIMIT_FSIZE, &before) != 0) return 9;
    return file_write(path, BYTES(big), 0600, NULL) == OK && file_append(path, BYTES(big), 0600, NULL) == OK ? 0 : 4;
}

static void test_full_disk(void **state) {
    (void)state;
    int status = 0;
    pid_t child = fork();
    if (child == 0) _exit(full_disk_child());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* Whoever reads while another writes, or after the writer was killed, sees one whole version. */
static void test_replace_is_atomic(void **state) {
    (void)state;
    static uint8_t a[200000], b[150000];
    memset(a, 'a', sizeof a);
    memset(b, 'b', sizeof b);
    assert_int_equal(file_write(path, BYTES(a), 0600, NULL), OK);
    struct buf got;
    buf_init(&got, sizeof a);
    for (int round = 0; round < 6; round++) {
        pid_t child = fork();
        if (child == 0) {
            for (;;) {
                if (file_write(path, BYTES(b), 0600, NULL) != OK) _exit(1);
                if (file_write(path, BYTES(a), 0600, NULL) != OK) _exit(1);
            }
        }
        for (int i = 0; i < 10 + round; i++) {
            buf_clear(&got);
            assert_int_equal(file_read(&got, path, sizeof a, NULL), OK);
            assert_true(bytes_equal(buf_bytes(&got), BYTES(a)) || bytes_equal(buf_bytes(&got), BYTES(b)));
        }
        (void)kill(child, SIGKILL);
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
    }
    buf_clear(&got);
    assert_int_equal(file_read(&got, path, sizeof a, NULL), OK);
    assert_true(bytes_equal(buf_bytes(&got), BYTES(a)) || bytes_equal(buf_bytes(&got), BYTES(b)));
    buf_fini(&got);
}

static void test_bad_paths(void **state) {
    (void)state;
    struct fault f = {0};
    char deep[300];
    (void)snprintf(deep, sizeof deep, "%s/no/such/file", folder.path);
    assert_int_equal(file_write(deep, bytes_str("x"), 0600, &f), E_IO);
    assert_non_null(strstr(f.detail, deep));
    assert_int_equal(file_append(deep, bytes_str("x"), 0600, &f), E_IO);
    assert_int_equal(file_write(folder.path, bytes_str("x"), 0600, &f), E_IO);
    static char endless[5000];
    memset(endless, 'a', sizeof endless - 1);
    assert_int_equal(file_write(endless, bytes_str("x"), 0600, &f), E_TOO_BIG);
    assert_int_equal(dir_create(endless, &f), E_RANGE);
    assert_int_equal(dir_create("", &f), E_RANGE);
}

static void test_dir_create(void **state) {
    (void)state;
    char deep[300];
    (void)snprintf(deep, sizeof deep, "%s/a/b//c/", folder.path);
    assert_int_equal(dir_create(deep, NULL), OK);
    assert_int_equal(dir_create(deep, NULL), OK);
    assert_int_equal(mode_of(deep), 0700);
    struct fault f = {0};
    assert_int_equal(file_write(path, bytes_str("x"), 0600, NULL), OK);
    assert_int_equal(dir_create(path, &f), E_IO);
    assert_non_null(strstr(f.detail, "not a folder"));
    (void)snprintf(deep, sizeof deep, "%s/below", path);
    assert_int_equal(dir_create(deep, &f), E_IO);
}

/* A relative name without a folder is synced in the present one. */
static void test_relative(void **state) {
    (void)state;
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        if (chdir(folder.path) != 0) _exit(1);
        _exit(file_write("file", bytes_str("here"), 0600, NULL) == OK && dir_create("sub", NULL) == OK ? 0 : 2);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_file_is("here");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_write_read), TEST(test_read_refusals), TEST(test_left_over_temporary),
        TEST(test_append),     TEST(test_full_disk),     TEST(test_replace_is_atomic),
        TEST(test_bad_paths),  TEST(test_dir_create),    TEST(test_relative),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

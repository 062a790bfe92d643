#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/store.h"
#include "store/testing.h"

static void test_lock_is_of_one_process(void **state) {
    (void)state;
    struct test_folder folder = test_folder_make();
    struct fault f = {0};
    char want[64];
    int lock = -1, other = -1, ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        char ready = dir_lock(&lock, folder.path, NULL) == OK ? 'y' : 'n';
        if (write(ends[1], &ready, 1) != 1) _exit(1);
        for (;;) pause();
    }
    char ready = 0;
    assert_int_equal(read(ends[0], &ready, 1), 1);
    assert_int_equal(ready, 'y');
    (void)snprintf(want, sizeof want, "in use by process %ld;", (long)child);
    assert_int_equal(dir_lock(&other, folder.path, &f), E_BUSY);
    assert_int_equal(other, -1);
    assert_non_null(strstr(f.detail, want));
    assert_int_equal(kill(child, SIGKILL), 0); /* nothing has to be cleaned up */
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(dir_lock(&lock, folder.path, &f), OK);
    assert_int_equal(dir_lock(&other, folder.path, &f), E_BUSY); /* nor twice in one process */
    (void)close(lock);
    assert_int_equal(dir_lock(&lock, folder.path, &f), OK);
    (void)close(lock);
    (void)close(ends[0]);
    (void)close(ends[1]);
    test_folder_remove(&folder);
    assert_int_equal(dir_lock(&lock, folder.path, &f), E_IO);
}

static void test_folder_is_of_one_network(void **state) {
    (void)state;
    struct test_folder folder = test_folder_make();
    struct fault f = {0};
    char path[128];
    (void)snprintf(path, sizeof path, "%s/network", folder.path);
    assert_int_equal(dir_bind(folder.path, "nacre-a", &f), OK);
    assert_int_equal(dir_bind(folder.path, "nacre-a", &f), OK);
    assert_int_equal(dir_bind(folder.path, "nacre-b", &f), E_WRONG_NETWORK);
    assert_non_null(strstr(f.detail, "nacre-a"));
    assert_non_null(strstr(f.detail, "nacre-b"));
    assert_int_equal(dir_bind(folder.path, "nacre", &f), E_WRONG_NETWORK); /* no prefix either */
    assert_int_equal(file_write(path, BYTES_NONE, 0600, NULL), OK);        /* a crash at the very first start */
    assert_int_equal(dir_bind(folder.path, "nacre-b", &f), OK);
    char long_text[200];
    memset(long_text, 'x', sizeof long_text);
    assert_int_equal(file_write(path, bytes_of(long_text, sizeof long_text), 0600, NULL), OK);
    assert_int_equal(dir_bind(folder.path, "nacre-b", &f), E_TOO_BIG);
    test_folder_remove(&folder);
    assert_int_equal(dir_bind(folder.path, "nacre-b", &f), E_IO);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lock_is_of_one_process),
        cmocka_unit_test(test_folder_is_of_one_network),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

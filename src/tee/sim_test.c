/* The simulated platform: its file, its evidence, and that sealing keys are apart for programs, networks and purposes. */
#include "tee/tee.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/store.h"

static char dir[64], path[128];
static struct fault f;

static int set_up(void **state) {
    (void)state;
    if (crypto_init() != OK) return -1;
    (void)snprintf(dir, sizeof dir, "/tmp/nacre-sim-XXXXXX");
    if (!mkdtemp(dir)) return -1;
    (void)snprintf(path, sizeof path, "%s/platform", dir);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    (void)unlink(path);
    return rmdir(dir);
}

static struct tee *opened(void) {
    struct tee *t = NULL;
    assert_int_equal(tee_open_sim(&t, path, &f), OK);
    assert_non_null(t);
    return t;
}

static void a_platform_is_made_once(void **state) {
    (void)state;
    struct stat s;
    assert_int_equal(tee_sim_create(path, &f), OK);
    assert_int_equal(stat(path, &s), 0);
    assert_int_equal(s.st_mode & 0777, 0600); /* nobody else reads the keys */
    uint8_t before[KEY_SIZE], after[KEY_SIZE];
    assert_int_equal(tee_sim_issuer(before, path, &f), OK);
    assert_int_equal(tee_sim_create(path, &f), E_DUPLICATE);
    assert_non_null(strstr(f.detail, path));
    assert_int_equal(tee_sim_issuer(after, path, &f), OK);
    assert_memory_equal(before, after, KEY_SIZE);
}

static void evidence_verifies(void **state) {
    (void)state;
    struct tee *t = opened();
    struct attest_roots roots = {.allow_simulation = true, .sim_issuer_count = 1};
    struct attest_claims claims;
    struct hash measured, expected;
    struct buf evidence;
    uint8_t report_data[REPORT_DATA_SIZE];
    memset(report_data, 0x5a, sizeof report_data);
    buf_init(&evidence, LIMIT_EVIDENCE);
    assert_int_equal(tee_sim_issuer(roots.sim_issuers[0], path, &f), OK);
    assert_int_equal(tee_evidence(&evidence, t, report_data), OK);
    assert_int_equal(attest_verify(&claims, &roots, buf_bytes(&evidence), &f), OK);
    assert_int_equal(claims.tier, TIER_SIMULATED); /* shown as what it is */
    assert_int_equal(claims.kind, tee_kind(t));
    assert_memory_equal(claims.report_data, report_data, REPORT_DATA_SIZE);
    tee_measurement(&measured, t);
    assert_memory_equal(claims.measurement, measured.bytes, HASH_SIZE);
    assert_int_equal(tee_sim_measure(&expected, "/proc/self/exe", &f), OK);
    assert_memory_equal(measured.bytes, expected.bytes, HASH_SIZE);
    roots.sim_issuers[0][0] ^= 1;
    assert_int_equal(attest_verify(&claims, &roots, buf_bytes(&evidence), &f), E_BAD_EVIDENCE);
    buf_fini(&evidence);
    tee_close(t);
}

static void programs_are_measured(void **state) {
    (void)state;
    struct hash h, expected;
    char program[128];
    (void)snprintf(program, sizeof program, "%s/program", dir);
    static uint8_t contents[3 * 65536 + 1]; /* several reads; then exactly a multiple of one */
    for (size_t size = sizeof contents; size >= sizeof contents - 1; size--) {
        assert_int_equal(file_write(program, bytes_of(contents, size), 0644, &f), OK);
        sha256(&expected, bytes_of(contents, size));
        assert_int_equal(tee_sim_measure(&h, program, &f), OK);
        assert_memory_equal(h.bytes, expected.bytes, HASH_SIZE);
    }
    assert_int_equal(unlink(program), 0);
    assert_int_equal(tee_sim_measure(&h, program, &f), E_IO);
    assert_non_null(strstr(f.detail, program));
    assert_int_equal(tee_sim_measure(&h, dir, &f), E_IO); /* a folder */
}

static bool same(const struct secret *a, const struct secret *b) {
    return secret_equal(a, b, sizeof *a);
}

static void sealing_keys_are_apart(void **state) {
    (void)state;
    struct tee *t = opened();
    struct hash net = {{1}}, other_net = {{2}};
    struct secret key, again, other;
    tee_seal_key(&key, t, CTX_SHARE_SEAL, &net);
    tee_seal_key(&other, t, CTX_SHARE_SEAL, &other_net);
    assert_false(same(&key, &other));
    tee_seal_key(&other, t, CTX_DISK_LOG, &net);
    assert_false(same(&key, &other));
    tee_close(t);
    t = opened(); /* the same after a restart */
    tee_seal_key(&again, t, CTX_SHARE_SEAL, &net);
    assert_true(same(&key, &again));
    tee_close(t);

    char second[128];
    (void)snprintf(second, sizeof second, "%s/second", dir);
    assert_int_equal(tee_sim_create(second, &f), OK);
    assert_int_equal(tee_open_sim(&t, second, &f), OK);
    tee_seal_key(&other, t, CTX_SHARE_SEAL, &net); /* another machine */
    assert_false(same(&key, &other));
    tee_close(t);
    assert_int_equal(unlink(second), 0);
}

static void damaged_files_are_refused(void **state) {
    (void)state;
    struct buf file;
    char bad[128];
    struct tee *t = NULL;
    uint8_t issuer[KEY_SIZE] = {0};
    buf_init(&file, 8192);
    assert_int_equal(file_read(&file, path, 4096, &f), OK);
    assert_int_equal(file.size, 8 + 3 * 32);
    (void)snprintf(bad, sizeof bad, "%s/bad", dir);
    const size_t sizes[] = {0, 7, 8, 103, 105, 4096};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint8_t contents[4096] = {0};
        memcpy(contents, file.data, file.size);
        assert_int_equal(file_write(bad, bytes_of(contents, sizes[i]), 0600, &f), OK);
        assert_int_equal(tee_open_sim(&t, bad, &f), E_CORRUPT);
        assert_non_null(strstr(f.detail, bad));
        assert_int_equal(tee_sim_issuer(issuer, bad, &f), E_CORRUPT);
    }
    file.data[0] ^= 1; /* not our magic */
    assert_int_equal(file_write(bad, buf_bytes(&file), 0600, &f), OK);
    assert_int_equal(tee_open_sim(&t, bad, &f), E_CORRUPT);
    assert_int_equal(unlink(bad), 0);
    assert_int_not_equal(tee_open_sim(&t, bad, &f), OK); /* not there */
    assert_non_null(strstr(f.detail, bad));
    assert_null(t);
    assert_int_equal(issuer[0], 0);
    tee_close(NULL);
    buf_wipe(&file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_platform_is_made_once),   cmocka_unit_test(evidence_verifies),
        cmocka_unit_test(programs_are_measured),     cmocka_unit_test(sealing_keys_are_apart),
        cmocka_unit_test(damaged_files_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

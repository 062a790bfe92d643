/* Blocks as an engine drives them: empty ones, determinism, check, prepare and process, restore, snapshots. */
#include "chain/testing.h"

static void command_reaches_the_log(void **state) {
    (void)state;
    struct ready r;
    ready_init(&r, 3, 2, "");
    struct net *n = r.net;
    Nacre__ProgramRecord *p = program_of(n, &r.program);
    assert_int_equal(p->status, NACRE__PROGRAM_STATUS__PROGRAM_READY);
    codec_free(p);
    Nacre__ClusterRecord *before = cluster_of(n, r.cluster);
    struct test_command c;
    command_fill(&c, &r.program, 1);
    assert_code(n, do_command(n, 5, &c), OK);
    assert_int_equal(n->data[0].size, 16);
    assert_true(get_be64(n->data[0].data) == r.cluster);
    assert_true(get_be64(n->data[0].data + 8) == before->log_count);
    assert_int_equal(n->entry_count, 1);
    struct entry e;
    assert_int_equal(rule_entry_decode(&e, BYTES(n->entries[0].header)), OK);
    assert_int_equal(e.type, ENTRY_COMMAND);
    assert_true(hash_equal(&e.sender, &n->ids[5]));
    assert_true(e.gas_limit == 1000000);
    struct hash head = field_hash(before->log_head), next;
    rule_log_head(&next, &n->genesis.net, r.cluster, &head, n->entries[0].header);
    Nacre__ClusterRecord *after = cluster_of(n, r.cluster);
    assert_true(bytes_equal(codec_bytes(after->log_head), BYTES(next.bytes)));
    assert_true(hash_equal(&next, &n->entries[0].head));
    codec_free(before);
    codec_free(after);
    net_free(n);
}

int main(void) {
    if (crypto_init() != OK) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(command_reaches_the_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What users send and what they get: commands, their replies and receipts, everything a hostile sender may try. */
#include "verify/verify.h"
#include "world.h"

#define NEVER(code) (RULES_NEVER_RAN + (uint32_t)(code))

static struct world *start(const char *params, size_t workers, uint32_t quorum) {
    static const char *const labels[] = {"a", "b", "c", "d"};
    struct world *x = world_new(params);
    for (size_t i = 0; i < workers; i++) (void)world_boot(x, i, labels[i]);
    world_cluster(x, (uint32_t)workers, quorum);
    return x;
}

static void commands_change_state_and_receipts_verify(void **state) {
    (void)state;
    struct world *x = start("", 1, 1);
    struct host *h = &x->hosts[0];
    struct user u;
    struct buf tx, receipt;
    struct hash hash;
    Nacre__CommandReply *reply;
    Nacre__ReplyBody *body;
    struct verify_report report = {0};
    struct fault f = {0};
    user_open(x, &u, 2, &x->program);
    assert_int_equal(user_run(x, &u, h, "set a 1", "0\n"), PROGRAM_DONE);
    assert_int_equal(user_run(x, &u, h, "get a", "1:1\n"), PROGRAM_DONE);

    user_command(x, &u, &tx, &hash, "set b 2\nget a");
    world_run(x, 50);
    world_settle(x, h);
    assert_int_equal(user_reply(x, &u, h, buf_bytes(&tx), &reply, &body), OK);
    assert_true(reply->agreed);
    buf_init(&receipt, LIMIT_RECEIPT);
    assert_int_equal(client_command_receipt(&receipt, &x->genesis.net, buf_bytes(&tx), reply, body), OK);
    err_t err = verify_receipt(&report, buf_bytes(&receipt), &x->genesis, &f);
    if (err != OK) fail_msg("%s %s", err_name(err), f.detail);
    assert_int_equal(report.voters, 1);
    verify_report_fini(&report);
    codec_free(reply);
    codec_free(body);
    buf_fini(&tx);
    buf_fini(&receipt);
    user_close(&u);
    world_free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_change_state_and_receipts_verify),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

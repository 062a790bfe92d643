/* Receipts: whatever is not byte for byte an honest receipt is refused, with a code, and leaves nothing behind.
 *
 * First byte 0: the rest is a receipt as it stands. Odd: changes to a command's receipt. Even: to a query's. */
#include "fuzz.h"
#include "patch.h"
#include "verify/testing.h"

static struct kit kit;
static struct bytes honest_command, honest_query;

static void make_receipts(void) {
    struct sign_key user = kit_sign_key("user", 0);
    struct hash account, salt = kit_hash("salt", 0), request_hash, reply_hash, header_hash, digest;
    kit_init(&kit, 4, 3, 2);
    account_id(&account, KEY_ED25519, BYTES(user.public_key));
    struct bytes tx = kit_command(&kit, &user, NULL), output = bytes_str("output");
    kit_append(&kit, ENTRY_COMMAND, &account, tx, KIT_GAS);
    kit_append(&kit, ENTRY_COMMAND, &account, bytes_str("another"), KIT_GAS);
    Nacre__CommandReceipt *command = KIT_NEW(&kit, Nacre__CommandReceipt, nacre__command_receipt__init);
    command->leaf = kit_add_output(&kit, 2, 0, -1, output, &salt);
    kit_add_output(&kit, 3, 0, 0, output, &salt);
    kit_make_checkpoint(&kit, 0x7);
    kit_publish(&kit);
    command->proof = kit_command_proof(&kit, 2, 0, 0x7);
    command->command = codec_field(tx);
    command->output = codec_field(output);
    command->salt = kit_hash_field(&kit, &salt);
    command->code = -1;
    honest_command = kit_receipt(&kit, command, NULL);

    Nacre__Query query = NACRE__QUERY__INIT;
    Nacre__Answer answer = NACRE__ANSWER__INIT;
    Nacre__QueryReceipt *receipt = KIT_NEW(&kit, Nacre__QueryReceipt, nacre__query_receipt__init);
    query.suite = RULES_SUITE;
    query.network = codec_field(BYTES(kit.genesis.net.bytes));
    query.cluster = KIT_CLUSTER;
    query.program = kit.program->id;
    query.account = kit_hash_field(&kit, &account);
    receipt->query = codec_field(kit_pack(&kit, &query));
    sha256(&request_hash, codec_bytes(receipt->query));
    rule_reply_hash(&reply_hash, &salt, 0, 5, output);
    light_header_hash(&header_hash, &kit.header);
    answer.request_hash = kit_hash_field(&kit, &request_hash);
    answer.reply_hash = kit_hash_field(&kit, &reply_hash);
    answer.height = kit.height;
    answer.header_hash = kit_hash_field(&kit, &header_hash);
    answer.cluster = KIT_CLUSTER;
    answer.program = kit.program->id;
    answer.code_hash = kit_hash_field(&kit, &kit.code_hash);
    answer.index = 4;
    answer.time_ms = kit.time_ms;
    answer.worker = kit.workers[0].record->id;
    answer.incarnation = 1;
    receipt->answer = codec_field(kit_pack(&kit, &answer));
    receipt->chain = kit_chain_proof(&kit, 0x1, false);
    rule_answer_digest(&digest, &kit.genesis.net, codec_bytes(receipt->answer));
    receipt->signature = codec_field(bytes_of(kit_alloc(&kit, SIGNATURE_SIZE), SIGNATURE_SIZE));
    sign(receipt->signature.data, &kit.workers[0].sign, BYTES(digest.bytes));
    receipt->code = 5;
    receipt->output = codec_field(output);
    receipt->salt = kit_hash_field(&kit, &salt);
    honest_query = kit_receipt(&kit, NULL, receipt);
}

static void check(struct bytes receipt) {
    struct verify_report report;
    struct fault f;
    err_t err = verify_receipt(&report, receipt, &kit.genesis, &f);
    require((err == OK) == (bytes_equal(receipt, honest_command) || bytes_equal(receipt, honest_query)));
    require(report.check_count > 0 && report.checks[report.check_count - 1].passed == (err == OK));
    require(err == OK || (f.code == err && !report.decoded && report.proven[0] == '\0'));
    verify_report_fini(&report);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!honest_query.data) make_receipts();
    if (size == 0) return 0;
    struct bytes rest = bytes_of(data + 1, size - 1);
    if (data[0] == 0) {
        check(rest);
        return 0;
    }
    struct buf changed;
    buf_init(&changed, PATCH_MAX);
    patch_apply(&changed, data[0] & 1 ? honest_command : honest_query, rest);
    check(buf_bytes(&changed));
    buf_fini(&changed);
    return 0;
}

/* Log pages and state answers of a lying node: only the honest bytes are believed, and trust moves only then.
 *
 * First byte 0: the rest is a log page. 1: changes to an honest page. 2: a state answer. Else: changes to an honest one. */
#include "fuzz.h"
#include "patch.h"
#include "verify/testing.h"

static struct kit kit;
static struct bytes honest_page, honest_state;
static struct state_key keys[3];

static void make_world(void) {
    struct hash id, user = kit_hash("user", 0);
    kit_init(&kit, 4, 3, 2);
    for (int i = 0; i < 5; i++) kit_append(&kit, ENTRY_COMMAND, &user, bytes_str("payload"), KIT_GAS);
    kit_publish(&kit);
    honest_page = kit_pack(&kit, kit_page(&kit, 2, 3));
    memcpy(id.bytes, kit.workers[0].record->id.data, HASH_SIZE);
    keys[0] = state_key_number('c', KIT_CLUSTER);
    keys[1] = state_key_hash('w', &id);
    keys[2] = state_key_number('c', 99);
    honest_state = kit_pack(&kit, kit_state(&kit, keys, 3));
}

static bool same_trust(const struct light_trust *a, const struct light_trust *b) {
    return a->height == b->height && hash_equal(&a->header_hash, &b->header_hash) &&
           a->time.seconds == b->time.seconds && a->time.nanos == b->time.nanos &&
           hash_equal(&a->next_validators_hash, &b->next_validators_hash) && strcmp(a->chain_id, b->chain_id) == 0;
}

static void check_page(struct bytes page) {
    struct light_trust trust, before;
    struct fault f = {0};
    struct hash after;
    Nacre__LogPage *out = NULL;
    Nacre__ClusterRecord *record = NULL;
    genesis_trust(&trust, &kit.genesis);
    before = trust;
    err_t err = verify_log_page(&trust, &out, &after, &record, page, &kit.genesis.net, KIT_CLUSTER, 2,
                                &kit.entries[2].before, &f);
    require((err == OK) == bytes_equal(page, honest_page));
    require(err == OK || (f.code == err && !out && !record && same_trust(&trust, &before)));
    codec_free(out);
    codec_free(record);
}

static void check_state(struct bytes state) {
    struct light_trust trust, before;
    struct light_header header;
    struct fault f = {0};
    Nacre__StateAnswer *out = NULL;
    genesis_trust(&trust, &kit.genesis);
    before = trust;
    err_t err = verify_state_answer(&trust, &header, &out, state, keys, 3, &f);
    require((err == OK) == bytes_equal(state, honest_state));
    require(err == OK || (f.code == err && !out && same_trust(&trust, &before)));
    codec_free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!honest_state.data) make_world();
    if (size == 0) return 0;
    struct bytes rest = bytes_of(data + 1, size - 1);
    struct buf changed;
    buf_init(&changed, PATCH_MAX);
    switch (data[0]) {
    case 0: check_page(rest); break;
    case 1:
        patch_apply(&changed, honest_page, rest);
        check_page(buf_bytes(&changed));
        break;
    case 2: check_state(rest); break;
    default:
        patch_apply(&changed, honest_state, rest);
        check_state(buf_bytes(&changed));
        break;
    }
    buf_fini(&changed);
    return 0;
}

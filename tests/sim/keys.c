/* The key service: the real core; its process, disk and registration simulated. */
#include "sim.h"

#define TICK_MS 200
#define RETRY_MS 2000

static void boot(struct sim *s) {
    struct fault f = {0};
    if (keyd_new(&s->keys.keyd, &s->genesis, buf_bytes(&s->keys.secret), &f) != OK) sim_fail(s, "keyd: %s", f.detail);
}

void keys_start(struct sim *s) {
    uint8_t entropy[64];
    sim_bytes(s, entropy, sizeof entropy);
    buf_init(&s->keys.secret, KEYD_SECRET_MAX);
    keyd_secret_create(&s->keys.secret, entropy);
    boot(s);
    sim_after(s, 50, keys_tick, NULL);
}

void keys_stop(struct sim *s) {
    keyd_free(s->keys.keyd);
    buf_fini(&s->keys.secret);
}

/* Its disk holds the share as of some earlier light view. */
void keys_crash(struct sim *s) {
    s->crashes++;
    if (sim_chance(s, 500)) {
        buf_clear(&s->keys.secret);
        keyd_secret_save(s->keys.keyd, &s->keys.secret);
    }
    keyd_free(s->keys.keyd);
    s->keys.keyd = NULL;
    boot(s);
}

static void register_service(struct sim *s) {
    struct report_bundle bundle;
    struct buf evidence, message;
    struct secret fresh = sim_secret(s);
    uint8_t report_data[REPORT_DATA_SIZE];
    Nacre__RegisterKeyService *m;
    Nacre__TxBody body = NACRE__TX_BODY__INIT;
    buf_init(&evidence, LIMIT_EVIDENCE);
    buf_init(&message, LIMIT_TX);
    keyd_bundle(s->keys.keyd, &bundle, 1, s->genesis.initial_height - 1, &s->genesis.genesis_hash);
    rule_report_data(report_data, &s->genesis.net, &bundle);
    attest_sim_make(&evidence, &s->issuer, BYTES(s->keyd_measurement.bytes), report_data, &s->platform, 1);
    if (keyd_registration(s->keys.keyd, &message, &bundle, 1, buf_bytes(&evidence), "http://keys", &fresh) != OK ||
        CODEC_UNPACK(&m, nacre__register_key_service, buf_bytes(&message), LIMIT_TX) != OK) {
        sim_fail(s, "the key service's registration");
        return;
    }
    body.msg_case = NACRE__TX_BODY__MSG_REGISTER_KEY_SERVICE;
    body.register_key_service = m;
    users_set_up(s, &body);
    codec_free(m);
    buf_fini(&evidence);
    buf_fini(&message);
    s->keys.next_try_ms = s->now_ms + RETRY_MS;
}

/* As the real one: until the chain has the share. A transaction of the same operator may have used the lane. */
static bool is_registered(const struct sim_view *v) {
    struct state_key key = state_key_global("sharing");
    struct bytes value;
    Nacre__SharingRecord *sharing;
    if (map_get(v->state, &value, state_key_bytes(&key)) != OK) return false;
    if (CODEC_UNPACK(&sharing, nacre__sharing_record, value, LIMIT_VALUE) != OK) return false;
    bool seated = sharing->n_seats > 0;
    codec_free(sharing);
    return seated;
}

void keys_tick(struct sim *s, void *unused) {
    (void)unused;
    struct fault f = {0};
    const struct sim_view *v = node_view(s);
    if (v->state) {
        err_t err = keyd_observe(s->keys.keyd, buf_bytes(&v->light_block), s->now_ms, &f);
        if (err == E_CONFLICT) sim_fail(s, "the key service sees a conflict on one chain: %s", f.detail);
        if (s->now_ms >= s->keys.next_try_ms && !is_registered(v)) register_service(s);
    }
    sim_after(s, TICK_MS, keys_tick, NULL);
}

bool keys_answer(struct sim *s, struct buf *out, struct bytes request) {
    struct state_key needed[8];
    size_t count = 0;
    struct fault f = {0};
    struct buf keys, state;
    struct secret fresh = sim_secret(s);
    check_outside(s, request, "a release request");
    if (keyd_needs(s->keys.keyd, needed, &count, request, &f) != OK) return false;
    buf_init(&keys, 4096);
    buf_init(&state, LIMIT_HTTP_RESPONSE);
    for (size_t i = 0; i < count; i++) buf_put_lp(&keys, state_key_bytes(&needed[i]));
    err_t err = node_state(s, &state, buf_bytes(&keys), true) ? OK : E_NETWORK;
    if (err == OK) err = keyd_answer(s->keys.keyd, out, request, buf_bytes(&state), s->now_ms, &fresh, &f);
    buf_fini(&keys);
    buf_fini(&state);
    if (err == OK) check_outside(s, buf_bytes(out), "a release answer");
    return err == OK;
}

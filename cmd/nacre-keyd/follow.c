/* Registration with the chain, then its new blocks for ever. */
#include <stdio.h>
#include <time.h>

#include "base/log.h"
#include "keyd.h"
#include "net/refusal.h"
#include "verify/verify.h"

#define CALL_TIMEOUT_MS 40000
#define WAIT_MS 2000 /* of a long poll: a signal to stop waits for it */
#define RETRY_MS 300
#define SAVE_EVERY_BLOCKS \
    256 /* the sealed light view may be this far behind after a crash: it only ever moves forward */
#define REGISTER_FEE 1000000

uint64_t clock_now_ms(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void pause_ms(long ms) {
    struct timespec duration = {ms / 1000, ms % 1000 * 1000000};
    (void)nanosleep(&duration, NULL);
}

/* A call to the node whose refusal is a fault. */
static err_t node_call(struct service *s, struct net_client *client, struct buf *body, enum net_method method,
                       const char *path, struct bytes request, struct fault *f) {
    unsigned status = 0;
    TRY(net_call(client, &status, body, method, s->options.node, path, request, false, CALL_TIMEOUT_MS, f));
    return status >= 400 ? refusal_read(f, status, buf_bytes(body)) : OK;
}

err_t node_state(struct service *s, struct net_client *client, struct buf *answer, const struct state_key *keys,
                 size_t count, struct fault *f) {
    struct buf request;
    buf_init(&request, 4096);
    for (size_t i = 0; i < count; i++) buf_put_lp(&request, state_key_bytes(&keys[i]));
    err_t err = buf_err(&request);
    if (err == OK) err = node_call(s, client, answer, NET_POST, "/v1/state", buf_bytes(&request), f);
    buf_fini(&request);
    return err;
}

/* --- registration ------------------------------------------------------------------------------------------------------ */

/* What the proven state says that a registration needs. */
struct standing {
    uint32_t index;       /* seat of our operator, from 1; 0: none */
    uint32_t incarnation; /* registered with our share; 0: none */
    bool endpoint_is_ours;
    uint64_t block_height;
    struct hash block_hash;
    uint64_t height;
    uint64_t sequence;
};

/* A seat keeps its share for the life of a sharing: with another one there is nothing to wait for. */
static err_t read_seat(struct standing *out, const struct service *s, const Nacre__SharingRecord *sharing,
                       const struct hash *id, struct fault *f) {
    for (size_t i = 0; i < sharing->n_seats; i++) {
        const Nacre__KeySeat *seat = sharing->seats[i];
        if (seat->index != out->index) continue;
        if (!bytes_equal(codec_bytes(seat->id_key), BYTES(id->bytes))) {
            (void)fault_set(f, E_NOT_PERMITTED, "seat %u holds another share than %s/share.sealed", seat->index,
                            s->options.dir);
            if (f) f->remedy = "start with the directory that registered, or restore its share.sealed";
            return E_NOT_PERMITTED;
        }
        out->incarnation = seat->incarnation;
        out->endpoint_is_ours = strcmp(seat->endpoint, s->endpoint) == 0;
    }
    return OK;
}

static err_t read_standing(struct standing *out, const struct service *s, const Nacre__StateAnswer *state,
                           const struct hash *id, struct fault *f) {
    Nacre__Params *params = NULL;
    Nacre__SharingRecord *sharing = NULL;
    struct bytes recent = codec_bytes(state->items[2]->value), lane = codec_bytes(state->items[3]->value);
    TRY(CODEC_UNPACK(&params, nacre__params, codec_bytes(state->items[0]->value), LIMIT_VALUE));
    for (size_t i = 0; i < params->n_key_operators; i++) {
        if (bytes_equal(codec_bytes(params->key_operators[i]), BYTES(s->operator_identity.account.bytes))) {
            out->index = (uint32_t)i + 1;
        }
    }
    codec_free(params);
    if (out->index == 0) {
        return fault_set(f, E_NOT_PERMITTED, "genesis does not name the account of %s as a key operator",
                         s->options.operator_key);
    }
    if (!state->items[1]->absent) {
        TRY(CODEC_UNPACK(&sharing, nacre__sharing_record, codec_bytes(state->items[1]->value), LIMIT_VALUE));
        err_t err = read_seat(out, s, sharing, id, f);
        codec_free(sharing);
        if (err != OK) return err;
    }
    if (recent.size == 8 + HASH_SIZE) {
        out->block_height = get_be64(recent.data);
        memcpy(out->block_hash.bytes, recent.data + 8, HASH_SIZE);
    } else {
        out->block_height = s->genesis.initial_height - 1;
        out->block_hash = s->genesis.genesis_hash;
    }
    out->sequence = lane.size == 8 ? get_be64(lane.data) : 0;
    return OK;
}

static err_t ask_standing(struct standing *out, struct service *s, struct net_client *client, struct fault *f) {
    struct state_key keys[4] = {state_key_global("params"), state_key_global("sharing"), state_key_global("recent"),
                                state_key_lane(&s->operator_identity.account, 0)};
    struct buf answer;
    struct light_trust trust;
    struct light_header header;
    Nacre__StateAnswer *state = NULL;
    struct report_bundle self;
    memset(out, 0, sizeof *out);
    (void)pthread_mutex_lock(&s->lock);
    keyd_bundle(s->keyd, &self, 1, 0, &s->genesis.genesis_hash);
    (void)pthread_mutex_unlock(&s->lock);
    genesis_trust(&trust, &s->genesis);
    buf_init(&answer, LIMIT_HTTP_RESPONSE);
    err_t err = node_state(s, client, &answer, keys, 4, f);
    if (err == OK) err = verify_state_answer(&trust, &header, &state, buf_bytes(&answer), keys, 4, f);
    if (err == OK) {
        out->height = header.height;
        err = read_standing(out, s, state, &self.id, f);
    }
    codec_free(state);
    buf_fini(&answer);
    return err;
}

/* Makes evidence over the bundle, and the transaction that registers it. */
static err_t make_registration(struct buf *tx, struct service *s, const struct standing *at, struct fault *f) {
    struct report_bundle bundle;
    struct buf evidence, message;
    struct secret fresh;
    uint8_t report_data[REPORT_DATA_SIZE], fee[AMOUNT_ENCODED];
    Nacre__RegisterKeyService *body = NULL;
    buf_init(&evidence, LIMIT_EVIDENCE);
    buf_init(&message, LIMIT_TX);
    crypto_random(&fresh, sizeof fresh);
    (void)pthread_mutex_lock(&s->lock);
    keyd_bundle(s->keyd, &bundle, at->incarnation + 1, at->block_height, &at->block_hash);
    rule_report_data(report_data, &s->genesis.net, &bundle);
    err_t err = tee_evidence(&evidence, s->tee, report_data);
    if (err == OK) {
        err = keyd_registration(s->keyd, &message, &bundle, at->index, buf_bytes(&evidence), s->endpoint, &fresh);
    }
    (void)pthread_mutex_unlock(&s->lock);
    if (err == OK) err = CODEC_UNPACK(&body, nacre__register_key_service, buf_bytes(&message), LIMIT_TX);
    if (err == OK) {
        Nacre__TxBody tx_body = NACRE__TX_BODY__INIT;
        amount_encode(fee, amount_of(REGISTER_FEE));
        tx_body.sequence = at->sequence;
        tx_body.fee = CODEC_ARRAY(fee);
        tx_body.valid_until = at->height + 1000;
        tx_body.msg_case = NACRE__TX_BODY__MSG_REGISTER_KEY_SERVICE;
        tx_body.register_key_service = body;
        client_sign_tx(tx, &s->operator_identity, &s->genesis.net, &tx_body);
        err = buf_err(tx);
    }
    codec_free(body);
    secret_clear(&fresh);
    buf_fini(&evidence);
    buf_fini(&message);
    return err == OK ? OK : fault_set(f, err, "making the registration");
}

/* Submits the registration unless the chain has this share at this endpoint already. */
static err_t register_once(struct service *s, struct net_client *client, bool *done, struct fault *f) {
    struct standing at;
    struct buf tx, answer;
    TRY(ask_standing(&at, s, client, f));
    if (at.incarnation > 0 && at.endpoint_is_ours) {
        atomic_store(&s->incarnation, at.incarnation);
        *done = true;
        return OK;
    }
    buf_init(&tx, LIMIT_TX);
    buf_init(&answer, 4096);
    err_t err = make_registration(&tx, s, &at, f);
    if (err == OK) err = node_call(s, client, &answer, NET_POST, "/v1/tx", buf_bytes(&tx), f);
    if (err == E_DUPLICATE || err == E_BAD_NONCE) err = OK; /* ours is on its way, or the operator just used the lane */
    buf_fini(&tx);
    buf_fini(&answer);
    return err;
}

static err_t register_service(struct service *s, struct net_client *client, struct fault *f) {
    bool done = false;
    char text[FAULT_DETAIL_MAX + 256], last[sizeof text] = "";
    while (!atomic_load(&s->stopping)) {
        err_t err = register_once(s, client, &done, f);
        if (err == OK && done) {
            log_info("registered", "incarnation=%u endpoint=%s tee=sim", atomic_load(&s->incarnation), s->endpoint);
            return OK;
        }
        if (err == E_NOT_PERMITTED || err == E_POLICY || err == E_BAD_EVIDENCE || err == E_WRONG_NETWORK) return err;
        if (err != OK) {
            fault_format(f, text, sizeof text);
            if (strcmp(text, last) != 0) log_warn("registration waits", "reason=\"%s\"", text);
            (void)snprintf(last, sizeof last, "%s", text);
        }
        pause_ms(RETRY_MS);
    }
    return OK;
}

/* --- following --------------------------------------------------------------------------------------------------------- */

static uint64_t known_height(struct service *s) {
    (void)pthread_mutex_lock(&s->lock);
    uint64_t height = keyd_height(s->keyd);
    (void)pthread_mutex_unlock(&s->lock);
    return height;
}

static err_t follow_once(struct service *s, struct net_client *client, struct fault *f) {
    char path[96];
    struct buf block;
    (void)snprintf(path, sizeof path, "/v1/light?above=%lu&wait_ms=%d", (unsigned long)known_height(s), WAIT_MS);
    buf_init(&block, LIMIT_HTTP_RESPONSE);
    err_t err = node_call(s, client, &block, NET_GET, path, BYTES_NONE, f);
    if (err == OK) {
        (void)pthread_mutex_lock(&s->lock);
        err = keyd_observe(s->keyd, buf_bytes(&block), clock_now_ms(), f);
        (void)pthread_mutex_unlock(&s->lock);
    }
    buf_fini(&block);
    return err;
}

/* Seals the share again when the view has moved far enough or must be remembered. */
static void save_if_due(struct service *s, uint64_t *saved) {
    struct fault f = {0};
    char text[FAULT_DETAIL_MAX + 256];
    uint64_t height = known_height(s);
    bool wanted = atomic_exchange(&s->save_wanted, false);
    if (!wanted && height < *saved + SAVE_EVERY_BLOCKS) return;
    if (share_save(s, &f) == OK) {
        *saved = height;
        return;
    }
    if (wanted) atomic_store(&s->save_wanted, true);
    fault_format(&f, text, sizeof text);
    log_error("the share could not be sealed again", "reason=\"%s\"", text);
}

err_t follow_chain(struct service *s, struct fault *f) {
    struct net_client *client;
    uint64_t saved = known_height(s);
    char text[FAULT_DETAIL_MAX + 256];
    TRY(net_client_new(&client));
    err_t err = register_service(s, client, f);
    while (err == OK && !atomic_load(&s->stopping)) {
        err_t step = follow_once(s, client, f);
        if (step == E_CONFLICT) {
            fault_format(f, text, sizeof text);
            log_error("the chain contradicts itself", "reason=\"%s\"", text);
            atomic_store(&s->save_wanted, true);
        }
        save_if_due(s, &saved);
        if (step != OK) pause_ms(RETRY_MS);
    }
    net_client_free(client);
    return err;
}

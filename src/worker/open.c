/* Opening what users seal (rules L1 to L6), with a bounded memory of HPKE contexts and of the speakers verified in them.
 *
 * Each message carries the encapsulated key and the speaker's statement, so the cache only saves work: a verdict taken from
 * it is the one a replica without it would reach, because the same bytes were checked and validity ends by height. */
#include <stdlib.h>

#include "worker/internal.h"

void context_cache_fini(struct context_cache *c) {
    if (!c) return;
    for (size_t i = 0; i < WORKER_CONTEXTS; i++) {
        if (!c->slots[i]) continue;
        secret_wipe(c->slots[i], sizeof *c->slots[i]);
        free(c->slots[i]);
    }
    free(c);
}

void opened_fini(struct opened *o) {
    if (o->body) {
        secret_wipe(o->body->input.data, o->body->input.len);
        codec_free(o->body);
    }
    hpke_context_clear(&o->context);
    buf_wipe(&o->plain);
    buf_fini(&o->plain);
    *o = (struct opened){0};
}

/* A context has WORKER_CONTEXT_WAYS slots to be in, so that a few in use at once do not push each other out; the oldest of a full
 * set gives way. */
static size_t cache_set(const struct sealed *in) {
    return (get_be32(in->enc.data) ^ get_be32(in->scope.account.bytes)) % WORKER_CONTEXT_SETS;
}

static bool slot_matches(const struct context_slot *s, const struct sealed *in) {
    return s && s->epoch == in->scope.epoch && memcmp(s->enc, in->enc.data, KEY_SIZE) == 0 &&
           hash_equal(&s->program, &in->scope.program) && hash_equal(&s->account, &in->scope.account);
}

static void cache_lock(mtx_t *lock) {
    if (lock) (void)mtx_lock(lock);
}

static void cache_unlock(mtx_t *lock) {
    if (lock) (void)mtx_unlock(lock);
}

static struct context_slot **cache_find(struct context_cache *cache, const struct sealed *in) {
    struct context_slot **set = &cache->slots[cache_set(in) * WORKER_CONTEXT_WAYS];
    for (size_t i = 0; i < WORKER_CONTEXT_WAYS; i++) {
        if (slot_matches(set[i], in)) return &set[i];
    }
    return NULL;
}

static bool cache_get(struct context_slot *out, struct context_cache *cache, mtx_t *lock, const struct sealed *in) {
    cache_lock(lock);
    struct context_slot **s = cache_find(cache, in);
    if (s) *out = **s;
    cache_unlock(lock);
    return s != NULL;
}

static void cache_put(struct context_cache *cache, mtx_t *lock, const struct sealed *in,
                      const struct context_slot *slot) {
    cache_lock(lock);
    struct context_slot **s = cache_find(cache, in);
    if (!s) {
        size_t set = cache_set(in);
        s = &cache->slots[set * WORKER_CONTEXT_WAYS + cache->next[set]++ % WORKER_CONTEXT_WAYS];
    }
    if (!*s) *s = calloc(1, sizeof **s);
    if (*s) **s = *slot;
    cache_unlock(lock);
}

err_t open_context(struct hpke_context *out, const struct seal_scope *scope, struct bytes enc,
                   const struct secret *epoch_key) {
    if (enc.size != KEY_SIZE) return E_MALFORMED;
    struct hpke_key key;
    struct buf info;
    buf_init(&info, 512);
    rule_seal_info(&info, scope);
    rule_input_key(&key, &scope->net, epoch_key, scope->cluster, scope->epoch, &scope->program);
    err_t err = buf_err(&info);
    if (err == OK) err = hpke_setup_receiver(out, &key, enc.data, buf_bytes(&info));
    hpke_key_clear(&key);
    buf_fini(&info);
    return err;
}

/* The bytes of the speaker as they stand in the canonical body: its first field. */
static bool speaker_bytes(struct bytes *out, struct bytes body) {
    struct reader r = reader_of(body);
    if (reader_u8(&r) != 0x0a) return false; /* field 1, length-delimited */
    size_t size = 0;
    for (unsigned shift = 0; shift < 28; shift += 7) {
        uint8_t b = reader_u8(&r);
        size |= (size_t)(b & 0x7f) << shift;
        if (!(b & 0x80)) break;
    }
    *out = reader_take(&r, size);
    return r.err == OK;
}

/* When a speaker that is valid now stops being so: its own expiry and its session's. */
static uint64_t speaker_end(const Nacre__Speaker *s) {
    if (s->session && s->session->expires < s->expires) return s->session->expires;
    return s->expires;
}

static err_t check_speaker(struct context_slot *slot, bool *learned, const struct sealed *in, struct bytes body,
                           const Nacre__Speaker *speaker) {
    struct bytes raw;
    struct hash hash;
    if (!speaker || !speaker_bytes(&raw, body)) return E_MALFORMED;
    sha256(&hash, raw);
    if (slot->spoken && in->height <= slot->valid_until && hash_equal(&hash, &slot->speaker)) return OK;
    TRY(rule_speaker_verify(&in->scope, in->enc.data, speaker, in->height));
    slot->spoken = true;
    slot->speaker = hash;
    slot->valid_until = speaker_end(speaker);
    *learned = true;
    return OK;
}

static err_t open_body(struct opened *out, struct bytes *body, const struct sealed *in) {
    if (in->ciphertext.size < AEAD_TAG_SIZE) return E_DECRYPT;
    size_t size = in->ciphertext.size - AEAD_TAG_SIZE;
    buf_init(&out->plain, size + 1);
    uint8_t *plain = buf_extend(&out->plain, size ? size : 1);
    if (!plain) return E_NO_MEMORY;
    TRY(hpke_open(&out->context, in->seq, plain, in->aad, in->ciphertext));
    TRY(pad_take(body, bytes_of(plain, size)));
    /* A QueryBody has the same fields under the same numbers. */
    return CODEC_UNPACK(&out->body, nacre__command_body, *body, LIMIT_TX);
}

err_t open_sealed(struct opened *out, struct context_cache *cache, mtx_t *lock, const struct sealed *in,
                  const struct secret *epoch_key) {
    struct context_slot slot = {0};
    struct bytes body;
    bool learned = false;
    if (in->enc.size != KEY_SIZE) return E_MALFORMED;
    if (!cache_get(&slot, cache, lock, in)) {
        TRY(open_context(&slot.context, &in->scope, in->enc, epoch_key));
        memcpy(slot.enc, in->enc.data, KEY_SIZE);
        slot.program = in->scope.program;
        slot.account = in->scope.account;
        slot.epoch = in->scope.epoch;
        learned = true;
    }
    out->context = slot.context;
    out->has_context = true;
    err_t err = open_body(out, &body, in);
    if (err == OK) err = check_speaker(&slot, &learned, in, body, out->body->speaker);
    if (err == OK && out->body->input.len > LIMIT_INPUT) err = E_TOO_BIG;
    if (err == OK && learned) cache_put(cache, lock, in, &slot);
    if (err != OK) {
        codec_free(out->body);
        out->body = NULL;
    }
    secret_wipe(&slot, sizeof slot);
    return err;
}

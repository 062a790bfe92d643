/* The memo of signature verdicts: check fills it, prepare, process and finalize read it. Bounded: a set holds four, the
 * oldest of them gives way. What is not found is judged again, so nothing depends on what the memo holds. */
#include <stdlib.h>

#include "chain/internal.h"

#define GROUP_MAX 1024

struct tx_group {
    size_t count;
    struct sign_item items[GROUP_MAX];
    struct {
        struct hash id, digest;
        uint8_t key[KEY_SIZE], signature[SIGNATURE_SIZE];
    } copies[GROUP_MAX];
};

err_t verdicts_init(struct verdicts *v) {
    v->sets = calloc(VERDICT_SETS, sizeof *v->sets);
    v->next = calloc(VERDICT_SETS, sizeof *v->next);
    v->group = calloc(1, sizeof *v->group);
    return v->sets && v->next && v->group ? OK : E_NO_MEMORY;
}

void verdicts_fini(struct verdicts *v) {
    free(v->sets);
    free(v->next);
    free(v->group);
}

static size_t set_of(const struct hash *id) {
    return get_be32(id->bytes) % VERDICT_SETS;
}

static struct verdict *find(const struct verdicts *v, const struct hash *id) {
    struct verdict *set = v->sets[set_of(id)];
    for (size_t i = 0; i < VERDICT_WAYS; i++) {
        if (set[i].state != VERDICT_UNKNOWN && hash_equal(&set[i].id, id)) return &set[i];
    }
    return NULL;
}

enum verdict_state verdicts_get(const struct verdicts *v, const struct hash *id) {
    const struct verdict *verdict = find(v, id);
    return verdict ? (enum verdict_state)verdict->state : VERDICT_UNKNOWN;
}

bool verdicts_is_canonical(const struct verdicts *v, const struct hash *id) {
    const struct verdict *verdict = find(v, id);
    return verdict && verdict->canonical;
}

void verdicts_set_canonical(struct verdicts *v, const struct hash *id) {
    struct verdict *verdict = find(v, id);
    if (verdict) verdict->canonical = true;
}

void verdicts_put(struct verdicts *v, const struct hash *id, bool good) {
    size_t at = set_of(id);
    size_t way = v->next[at]++ % VERDICT_WAYS;
    v->sets[at][way] = (struct verdict){*id, good ? VERDICT_GOOD : VERDICT_BAD, false};
}

void verdicts_add(struct verdicts *v, const struct hash *id, const struct hash *digest, const uint8_t *key,
                  const uint8_t *signature) {
    struct tx_group *g = v->group;
    if (g->count == GROUP_MAX) verdicts_judge(v);
    size_t i = g->count++;
    g->copies[i].id = *id;
    g->copies[i].digest = *digest;
    memcpy(g->copies[i].key, key, KEY_SIZE);
    memcpy(g->copies[i].signature, signature, SIGNATURE_SIZE);
    g->items[i] = (struct sign_item){g->copies[i].key, g->copies[i].signature, BYTES(g->copies[i].digest.bytes), false};
}

void verdicts_judge(struct verdicts *v) {
    struct tx_group *g = v->group;
    (void)sign_verify_batch(g->items, g->count);
    for (size_t i = 0; i < g->count; i++) verdicts_put(v, &g->copies[i].id, g->items[i].valid);
    g->count = 0;
}

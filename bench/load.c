/* Making batches of commands. */
#include <stdlib.h>

#include "load.h"

struct load *load_make(struct network *n, size_t first_user) {
    struct load *l = calloc(1, sizeof *l);
    struct bytes items[LOAD_BATCH];
    if (l == NULL) bench_fail(n->b, "no memory");
    for (size_t i = 0; i < LOAD_BATCH; i++) {
        buf_init(&l->items[i], LIMIT_TX);
        network_command(n, &l->items[i], &n->users[first_user + i], BYTES_NONE, 0);
        items[i] = buf_bytes(&l->items[i]);
        bench_must(n->b, CODEC_UNPACK(&l->decoded[i], nacre__tx, items[i], LIMIT_TX), "own transaction");
        rule_tx_digest(&l->digests[i], &n->genesis.net, codec_bytes(l->decoded[i]->body));
        l->checks[i] = (struct sign_item){.public_key = l->decoded[i]->signatures[0]->public_key.data,
                                          .signature = l->decoded[i]->signatures[0]->signature.data,
                                          .message = BYTES(l->digests[i].bytes)};
    }
    buf_init(&l->tx, LIMIT_TX);
    network_batch(n, &l->tx, items, LOAD_BATCH);
    return l;
}

void load_free(struct load *l) {
    for (size_t i = 0; i < LOAD_BATCH; i++) {
        codec_free(l->decoded[i]);
        buf_fini(&l->items[i]);
    }
    buf_fini(&l->tx);
    free(l);
}

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

struct chain *load_chain(struct network *n, struct map *map) {
    struct engine_view *view;
    struct map_iter it;
    struct chain *c;
    bench_must(n->b, engine_view_get(&view, n->engine), "view");
    for (map_seek(view->state, &it, BYTES_NONE, false); it.valid; map_next(&it)) {
        bench_must(n->b, map_set(map, it.key, it.value), "state");
    }
    bench_must(n->b, chain_restore(&c, NULL, &n->genesis, view->height, view->time_ms, map), "chain");
    engine_view_free(view);
    return c;
}

double load_order_us(struct bench *b, struct chain *c, const struct bytes *txs, size_t count) {
    struct chain_block block = {.height = chain_height(c) + 1, .txs = txs, .tx_count = count};
    const struct chain_effects *effects;
    struct fault f = {0};
    bool keep[LOAD_TXS_MAX] = {false};
    block.time_ms = network_now_ms() + UINT64_C(1000) * block.height;
    uint64_t start = bench_thread_ns();
    for (size_t i = 0; i < count; i++) {
        if (chain_check(c, txs[i], &f) != OK) bench_fail(b, "check: %s", f.detail);
    }
    chain_prepare(c, keep, txs, count, block.time_ms);
    bench_must(b, chain_finalize(c, &effects, &block), "finalize");
    chain_commit(c);
    double us = (double)(bench_thread_ns() - start) / 1000;
    for (size_t i = 0; i < count; i++) {
        if (!keep[i] || effects->results[i].code != OK) bench_fail(b, "transaction %zu of a block failed", i);
    }
    return us;
}

void load_fill(struct network *n, uint64_t count, uint32_t value_size, uint32_t per_command) {
    struct network_user *user = &n->users[0];
    for (uint64_t at = 0; at < count; at += per_command) {
        uint8_t input[12];
        struct buf tx;
        put_be32(input, (uint32_t)at);
        put_be32(input + 4, (uint32_t)(count - at < per_command ? count - at : per_command));
        put_be32(input + 8, value_size);
        buf_init(&tx, LIMIT_TX);
        network_command(n, &tx, user, BYTES(input), n->genesis.params->n_gas_buckets - 1);
        uint64_t executed = network_worker_status(n).executed;
        (void)network_include(n, buf_bytes(&tx));
        while (network_worker_status(n).executed <= executed) network_pump(n, executed + 1);
        network_pump(n, 0);
        buf_fini(&tx);
    }
    size_t keys = network_worker_status(n).state_keys;
    if (keys < count) bench_fail(n->b, "the cluster has %zu keys instead of %llu", keys, (unsigned long long)count);
}

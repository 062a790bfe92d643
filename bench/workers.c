/* The cost of a block with 100 000 registered workers against 1 000: commands of 1000 accounts, and a new cluster whose
 * seat is filled from all of them. */
#include <stdlib.h>

#include "load.h"

#define FEW 1000u
#define MANY 100000u

/* Workers like the real one, under other names: their records, and their places in the list of those with free seats. */
static void register_workers(struct network *n, struct map *map, uint32_t count) {
    struct engine_view *view;
    Nacre__WorkerRecord *worker;
    struct hash id;
    struct buf record;
    uint8_t empty_seats[5 + HASH_SIZE] = {'s'};
    rule_worker_id(&id, &n->admin.account, "w");
    bench_must(n->b, engine_view_get(&view, n->engine), "view");
    bench_must(n->b, chain_get_worker(&worker, view->state, &id), "worker's record");
    buf_init(&record, LIMIT_VALUE);
    for (uint32_t i = 0; i < count; i++) {
        struct secret name = network_entropy(n);
        memcpy(worker->id.data, name.secret_bytes, HASH_SIZE);
        memcpy(id.bytes, name.secret_bytes, HASH_SIZE);
        memcpy(empty_seats + 5, id.bytes, HASH_SIZE);
        worker->seats = 0;
        buf_clear(&record);
        codec_pack(&record, worker);
        struct state_key key = state_key_hash('w', &id);
        bench_must(n->b, map_set(map, state_key_bytes(&key), buf_bytes(&record)), "record");
        bench_must(n->b, map_set(map, BYTES(empty_seats), BYTES_NONE), "seats");
    }
    buf_fini(&record);
    codec_free(worker);
    engine_view_free(view);
}

void bench_workers(struct bench *b) {
    static struct network n;
    struct map *few_map, *many_map;
    struct bench_series ratio = {0}, few_us = {0}, many_us = {0};
    bench_must(b, map_new(&few_map), "map");
    bench_must(b, map_new(&many_map), "map");
    network_start(&n, b, LOAD_BATCH);
    network_open_contexts(&n);
    register_workers(&n, few_map, FEW);
    register_workers(&n, many_map, MANY);
    struct chain *few = load_chain(&n, few_map), *many = load_chain(&n, many_map);
    for (int i = 0; i < (b->quick ? 5 : 15); i++) {
        struct load *l = load_make(&n, 0);
        struct buf create;
        buf_init(&create, LIMIT_TX);
        network_create_cluster_tx(&n, &create);
        struct bytes txs[] = {buf_bytes(&create), buf_bytes(&l->tx)};
        double f = load_order_us(b, few, txs, 2), m = load_order_us(b, many, txs, 2);
        bench_add(&few_us, f / 1000);
        bench_add(&many_us, m / 1000);
        bench_add(&ratio, m / f);
        buf_fini(&create);
        load_free(l);
    }
    bench_row(b, "block with 100 k registered workers / 1 k", "x", &ratio, BENCH_AT_MOST, 2,
              "1000 commands and a new cluster, checked and executed: %.1f ms against %.1f ms", bench_median(&many_us),
              bench_median(&few_us));
    chain_free(few);
    chain_free(many);
    network_stop(&n);
}

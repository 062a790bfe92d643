/* Counters in Prometheus' text form. */
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "node.h"

static void put(struct buf *out, const char *type, const char *name, const char *help, uint64_t value) {
    buf_put_fmt(out, "# HELP nacre_%s %s\n# TYPE nacre_%s %s\nnacre_%s %llu\n", name, help, name, type, name,
                (unsigned long long)value);
}

/* "total resident ...", in pages. */
static uint64_t resident_bytes(void) {
    struct buf text;
    uint64_t pages = 0;
    buf_init(&text, 256);
    if (file_read(&text, "/proc/self/statm", 255, NULL) == OK) {
        buf_put_u8(&text, 0);
        const char *second = strchr((const char *)text.data, ' ');
        if (second != NULL) pages = strtoull(second, NULL, 10);
    }
    buf_fini(&text);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

err_t call_metrics(struct call *c) {
    struct engine_stats e;
    struct net_server_stats n;
    struct engine_view *view = NULL;
    struct rusage usage;
    struct timespec now;
    engine_stats(c->node->engine, &e);
    net_server_stats(c->node->server, &n);
    TRY(engine_view_get(&view, c->node->engine));
    (void)getrusage(RUSAGE_SELF, &usage);
    (void)clock_gettime(CLOCK_REALTIME, &now);
    uint64_t now_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    struct buf *out = &c->response->body;
    c->response->content_type = "text/plain; version=0.0.4";
    put(out, "gauge", "height", "Height of the newest provable block.", view->height);
    put(out, "gauge", "block_age_ms", "Age of the newest block by this clock.",
        now_ms > view->time_ms ? now_ms - view->time_ms : 0);
    put(out, "gauge", "healthy", "1 while blocks are stored.", engine_health(c->node->engine, NULL) == OK);
    put(out, "gauge", "state_keys", "Keys of chain state.", map_count(view->state));
    put(out, "gauge", "state_bytes", "Bytes of keys and values of chain state.", map_bytes(view->state));
    put(out, "gauge", "store_bytes", "Bytes of the database in use.", e.store_bytes);
    put(out, "gauge", "mempool_txs", "Transactions that wait for a block.", e.mempool_txs);
    put(out, "gauge", "mempool_bytes", "Bytes of them.", e.mempool_bytes);
    put(out, "counter", "blocks_total", "Blocks made since the start.", e.blocks_made);
    put(out, "counter", "txs_included_total", "Transactions included since the start.", e.txs_included);
    put(out, "counter", "txs_refused_total", "Transactions refused at submission.", e.txs_refused);
    put(out, "counter", "txs_dropped_total", "Transactions that no longer stood after a block.", e.txs_dropped);
    put(out, "gauge", "http_connections", "Open connections.", n.connections);
    put(out, "counter", "http_requests_total", "Requests.", n.requests);
    put(out, "counter", "http_busy_total", "Requests refused for want of threads.", n.refused_busy);
    put(out, "counter", "http_slow_total", "Connections cut for being slow.", n.cut_slow);
    put(out, "gauge", "resident_bytes", "Memory in use.", resident_bytes());
    put(out, "counter", "cpu_ms_total", "Processor time used.",
        (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000 +
            (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000);
    engine_view_free(view);
    return OK;
}

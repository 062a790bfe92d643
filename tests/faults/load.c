#include "load.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>

#include "store/store.h"

#define KEEPER_PERCENT 20
#define QUERY_PERCENT 15
#define RECEIPT_PERCENT 25

/* --- set up ------------------------------------------------------------------------------------------------------------ */

static void must(err_t err, const struct user *u, const char *what) {
    if (err != OK) fail_msg("%s: %s: %s", what, err_name(err), u->fault.detail);
}

static void wait_for_workers(struct user *u) {
    for (unsigned i = 1; i <= NETWORK_WORKERS; i++) {
        char label[8];
        struct hash id, operator_id;
        Nacre__WorkerRecord *record;
        (void)snprintf(label, sizeof label, "w%u", i);
        memcpy(operator_id.bytes, u->genesis->params->key_operators[0].data, HASH_SIZE);
        rule_worker_id(&id, &operator_id, label);
        uint64_t deadline = user_clock_ms() + USER_PATIENCE_MS;
        err_t err;
        while ((err = user_record(u, &record, &nacre__worker_record__descriptor, state_key_hash('w', &id))) != OK &&
               user_clock_ms() < deadline) {
            user_pause_ms(100);
        }
        must(err, u, "a worker's registration");
        codec_free(record);
    }
}

static void deploy(struct load *l, struct user *u, size_t program, const char *guest, const char *name) {
    char path[600];
    struct buf wasm;
    struct target target;
    const char *guests = getenv("NACRE_GUESTS");
    (void)snprintf(path, sizeof path, "%s/%s.wasm", guests ? guests : "build/release/guests", guest);
    buf_init(&wasm, LIMIT_CODE);
    assert_int_equal(file_read(&wasm, path, LIMIT_CODE, NULL), OK);
    must(user_deploy(u, &l->programs[program], l->cluster, buf_bytes(&wasm), name), u, "a deploy");
    must(user_target(u, &target, &l->programs[program]), u, "a program's input key");
    target_fini(&target);
    buf_fini(&wasm);
}

void load_set_up(struct load *l, struct network *n, uint64_t epoch_blocks) {
    *l = (struct load){.network = n, .pause_ms = 20, .users_running = NETWORK_USERS};
    (void)pthread_mutex_init(&l->lock, NULL);
    for (size_t i = 0; i < NETWORK_USERS; i++) {
        l->users[i].load = l;
        assert_int_equal(user_open(&l->users[i].user, &n->genesis, n->node_url, &n->users[i]), OK);
        l->users[i].user.marker = LOAD_MARKER;
    }
    struct user *u = &l->users[0].user;
    wait_for_workers(u);
    must(user_create_cluster(u, &l->cluster, NETWORK_WORKERS, NETWORK_WORKERS / 2 + 1, epoch_blocks), u, "a cluster");
    deploy(l, u, LOAD_COUNTER, "counter", LOAD_PUBLIC);
    deploy(l, u, LOAD_KEEPER, "sim", "keeper");
}

void load_free(struct load *l) {
    for (size_t i = 0; i < NETWORK_USERS; i++) user_close(&l->users[i].user);
    for (size_t i = 0; i < LOAD_PROGRAMS; i++) free(l->answers[i].items);
    (void)pthread_mutex_destroy(&l->lock);
}

/* --- what users were told ---------------------------------------------------------------------------------------------- */

static void PRINTF_LIKE(2, 3) violate(struct load *l, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    (void)pthread_mutex_lock(&l->lock);
    if (l->violation[0] == 0) (void)vsnprintf(l->violation, sizeof l->violation, format, arguments);
    (void)pthread_mutex_unlock(&l->lock);
    va_end(arguments);
    atomic_store(&l->stop, true);
}

bool load_is_clean(struct load *l) {
    (void)pthread_mutex_lock(&l->lock);
    bool clean = l->violation[0] == 0;
    (void)pthread_mutex_unlock(&l->lock);
    return clean;
}

uint64_t load_acknowledged(struct load *l) {
    (void)pthread_mutex_lock(&l->lock);
    uint64_t count = l->answers[LOAD_COUNTER].count + l->answers[LOAD_KEEPER].count;
    (void)pthread_mutex_unlock(&l->lock);
    return count;
}

static void note(struct load *l, size_t program, uint64_t index, uint64_t value, uint64_t took_ms) {
    struct load_answers *a = &l->answers[program];
    (void)pthread_mutex_lock(&l->lock);
    if (a->count == a->capacity) {
        a->capacity = a->capacity ? 2 * a->capacity : 1024;
        a->items = realloc(a->items, a->capacity * sizeof *a->items);
        if (!a->items) abort();
    }
    a->items[a->count++] = (struct load_answer){index, value};
    if (took_ms > l->slowest_ms) l->slowest_ms = took_ms;
    (void)pthread_mutex_unlock(&l->lock);
}

static void count(struct load *l, uint64_t *counter) {
    (void)pthread_mutex_lock(&l->lock);
    ++*counter;
    (void)pthread_mutex_unlock(&l->lock);
}

/* --- a user's loop ----------------------------------------------------------------------------------------------------- */

static uint64_t below(struct load_user *x, uint64_t bound) {
    struct hash h; /* repeatable, and no state shared between threads */
    uint8_t be[8];
    put_be64(be, ++x->seed);
    sha256(&h, BYTES(be));
    return get_be64(h.bytes) % bound;
}

static void check_receipt(struct load *l, const struct outcome *o) {
    struct verify_report report;
    struct fault f = {0};
    err_t err = verify_receipt(&report, buf_bytes(&o->receipt), &l->network->genesis, &f);
    if (err != OK) {
        violate(l, "a receipt does not verify: %s: %s", err_name(err), f.detail);
        return;
    }
    if (report.index != o->index || report.status != o->status)
        violate(l, "a receipt of entry %lu says otherwise", (unsigned long)o->index);
    verify_report_fini(&report);
    count(l, &l->receipts);
}

/* What was acknowledged is in every later answer that asks for it. */
static void ask_total(struct load_user *x, const struct target *t, size_t program, uint64_t index, uint64_t value) {
    char output[256];
    uint32_t status = 0;
    const char *input = program == LOAD_COUNTER ? "total" : LOAD_MARKER;
    struct user *u = &x->user;
    err_t err = user_query(u, output, &status, t, below(x, NETWORK_WORKERS), input, index + 1);
    if (err == E_CONFLICT) violate(x->load, "%s", u->fault.detail);
    if (err != OK) return; /* that worker is away, new or behind: the next query goes elsewhere */
    if (status != 0 || strtoull(output, NULL, 10) < value) {
        violate(x->load, "a query after entry %lu answers '%s' (status %u), before was %lu", (unsigned long)index,
                output, status, (unsigned long)value);
    }
    count(x->load, &x->load->queries);
}

static void send_one(struct load_user *x, struct target *t, size_t program) {
    struct load *l = x->load;
    struct user *u = &x->user;
    struct outcome o;
    bool included;
    char input[128] = "add 1";
    if (program == LOAD_KEEPER) {
        (void)snprintf(input, sizeof input, LOAD_MARKER " %lu", (unsigned long)u->sequence);
    }
    uint64_t begun = user_clock_ms();
    err_t err = user_command(u, &o, &included, t, input, USER_GAS);
    if (err != OK && !included && (err == E_STALE_EPOCH || err == E_EXPIRED || err == E_BUSY)) {
        count(l, &l->refused);
        return;
    }
    if (err != OK) {
        violate(l, "a command that is %s: %s: %s", included ? "in the log" : "not in the log", err_name(err),
                u->fault.detail);
        return;
    }
    char *end = NULL;
    uint64_t value = strtoull(o.output, &end, 10);
    if (o.status != 0 || end == o.output || *end != 0) {
        violate(l, "the command at entry %lu ended with status %u: '%s'", (unsigned long)o.index, o.status, o.output);
    } else {
        note(l, program, o.index, value, user_clock_ms() - begun);
        if (below(x, 100) < RECEIPT_PERCENT) check_receipt(l, &o);
        if (below(x, 100) < QUERY_PERCENT) ask_total(x, t, program, o.index, value);
    }
    outcome_fini(&o);
}

static void *user_main(void *context) {
    struct load_user *x = context;
    struct load *l = x->load;
    while (!atomic_load(&l->stop)) {
        size_t program = below(x, 100) < KEEPER_PERCENT ? LOAD_KEEPER : LOAD_COUNTER;
        struct target t;
        err_t err = user_target(&x->user, &t, &l->programs[program]);
        if (err != OK) {
            violate(l, "reading the program: %s: %s", err_name(err), x->user.fault.detail);
            return NULL;
        }
        send_one(x, &t, program);
        target_fini(&t);
        user_pause_ms(l->pause_ms);
    }
    return NULL;
}

void load_start(struct load *l, uint64_t seed) {
    atomic_store(&l->stop, false);
    for (size_t i = 0; i < l->users_running; i++) {
        l->users[i].seed = (seed << 32) + (i << 48);
        assert_int_equal(pthread_create(&l->users[i].thread, NULL, user_main, &l->users[i]), 0);
    }
}

void load_stop(struct load *l) {
    atomic_store(&l->stop, true);
    for (size_t i = 0; i < l->users_running; i++) (void)pthread_join(l->users[i].thread, NULL);
}

/* --- the end ----------------------------------------------------------------------------------------------------------- */

static int by_index(const void *a, const void *b) {
    const struct load_answer *x = a, *y = b;
    return (x->index > y->index) - (x->index < y->index);
}

static void check_answers(struct load_answers *a, const char *program) {
    qsort(a->items, a->count, sizeof *a->items, by_index);
    for (size_t i = 0; i < a->count; i++) {
        if (i > 0 && a->items[i].index == a->items[i - 1].index)
            fail_msg("%s: two answers for entry %lu", program, (unsigned long)a->items[i].index);
        if (a->items[i].value != i + 1) {
            fail_msg("%s: entry %lu was answered %lu, %zu were acknowledged up to there", program,
                     (unsigned long)a->items[i].index, (unsigned long)a->items[i].value, i + 1);
        }
    }
}

uint64_t load_worker_number(struct user *u, struct network *n, size_t worker, const char *member) {
    char url[128];
    struct buf body;
    uint64_t value = UINT64_MAX;
    if (!network_endpoint(url, n, NETWORK_WORKER + worker)) return value;
    buf_init(&body, 1u << 16);
    if (user_http(u, &body, NET_GET, url, "/v1/status", BYTES_NONE, 5000) == OK) {
        json_t *status = json_loadb((const char *)body.data, body.size, 0, NULL);
        json_t *cluster = json_array_get(json_object_get(status, "clusters"), 0);
        const char *phase = json_string_value(json_object_get(cluster, "phase"));
        const json_t *number = json_object_get(cluster, member);
        if (phase && strcmp(phase, "serving") == 0 && json_is_integer(number)) {
            value = (uint64_t)json_integer_value(number);
        }
        json_decref(status);
    }
    buf_fini(&body);
    return value;
}

/* Every worker, also one that was killed a moment ago, comes to the end of the log by itself. */
static void check_workers(struct load *l, struct user *u) {
    uint64_t deadline = user_clock_ms() + USER_PATIENCE_MS, agreed[NETWORK_WORKERS], entries = 0;
    Nacre__ClusterRecord *record;
    for (bool same = false; !same; user_pause_ms(100)) {
        must(user_record(u, &record, &nacre__cluster_record__descriptor, state_key_number('c', l->cluster)), u,
             "the cluster");
        entries = record->log_count;
        same = record->agreed_count == entries;
        codec_free(record);
        for (size_t i = 0; i < NETWORK_WORKERS; i++) {
            agreed[i] = load_worker_number(u, l->network, i, "agreed");
            same = same && agreed[i] == entries && load_worker_number(u, l->network, i, "executed") == entries;
        }
        if (!same && user_clock_ms() > deadline) {
            fail_msg("the log has %lu entries, the workers agreed on %ld, %ld, %ld", (unsigned long)entries,
                     (long)agreed[0], (long)agreed[1], (long)agreed[2]);
        }
    }
}

static void check_totals(struct load *l, struct user *u) {
    for (size_t program = 0; program < LOAD_PROGRAMS; program++) {
        for (size_t i = 0; i < NETWORK_WORKERS; i++) {
            char output[256] = "";
            uint32_t status = 1;
            struct target t;
            must(user_target(u, &t, &l->programs[program]), u, "the program");
            const char *input = program == LOAD_COUNTER ? "total" : LOAD_MARKER;
            must(user_query(u, output, &status, &t, i, input, 0), u, "the last query");
            target_fini(&t);
            assert_int_equal(status, 0);
            assert_int_equal(strtoull(output, NULL, 10), l->answers[program].count);
        }
    }
}

void load_check(struct load *l) {
    struct user *u = &l->users[0].user;
    char where[256] = "";
    if (!load_is_clean(l)) fail_msg("%s", l->violation);
    check_answers(&l->answers[LOAD_COUNTER], "counter");
    check_answers(&l->answers[LOAD_KEEPER], "keeper");
    check_workers(l, u);
    check_totals(l, u);
    if (network_count_text(where, l->network->folder.path, LOAD_MARKER) > 0) fail_msg("plaintext in %s", where);
    assert_true(network_count_text(where, l->network->folder.path, LOAD_PUBLIC) > 0); /* so it would have been found */
}

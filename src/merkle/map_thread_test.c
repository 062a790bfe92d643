/* Readers on forks in other threads while the origin is written; also forks that are written and freed there. Meant for
 * the thread sanitizer as well as for the others. */
#include <pthread.h>

#include "merkle/testing.h"

#define KEYS 3000
#define ROUNDS 60
#define READERS 4

struct job {
    struct map *fork;
    uint64_t round;
    uint64_t seed;
    bool write; /* else read only */
    bool ok;
};

static struct bytes key_of(uint8_t out[16], uint64_t i) {
    memcpy(out, "account/", 8);
    put_be64(out + 8, i * UINT64_C(0x9e3779b97f4a7c15));
    return bytes_of(out, 16);
}

/* In round r every key i holds (i, the last round <= r in which it was written); every third value is large. */
static bool written_in(uint64_t i, uint64_t round) {
    return round == 0 || (i * 31 + round * 17) % 13 == 0;
}

static struct bytes value_of(uint8_t out[200], uint64_t i, uint64_t round) {
    while (!written_in(i, round)) round--;
    memset(out, (int)round, 200);
    put_be64(out, i);
    put_be64(out + 8, round);
    return bytes_of(out, i % 3 ? 16 + i % 20 : 200);
}

static bool read_all(struct map *m, uint64_t round) {
    uint8_t key[16], value[200];
    struct bytes got;
    for (uint64_t i = 0; i < KEYS; i++) {
        if (map_get(m, &got, key_of(key, i)) != OK || !bytes_equal(got, value_of(value, i, round))) return false;
    }
    struct map_iter it;
    size_t count = 0;
    for (map_seek(m, &it, BYTES_NONE, false); it.valid; map_next(&it)) {
        if (!bytes_equal(it.value, value_of(value, get_be64(it.value.data), round))) return false;
        count++;
    }
    return count == KEYS && map_count(m) == KEYS;
}

/* cmocka's asserts do not work in other threads: the verdict is left in the job. */
static void *reader(void *argument) {
    struct job *job = argument;
    struct hash before, after;
    map_root(job->fork, &before);
    job->ok = read_all(job->fork, job->round);
    struct map *own;
    if (!job->write || map_fork(&own, job->fork) != OK) {
        map_free(job->fork);
        return NULL;
    }
    uint8_t key[16], value[200] = {0xff};
    for (uint64_t i = job->seed % 5; i < KEYS && job->ok; i += 5) {
        err_t err = i % 2 ? map_set(own, key_of(key, i), bytes_of(value, i % 200)) : map_del(own, key_of(key, i));
        job->ok = err == OK;
    }
    map_root(own, &after);
    job->ok = job->ok && !hash_equal(&before, &after) && read_all(job->fork, job->round);
    if (job->seed % 2) {
        map_free(own);
        map_free(job->fork);
    } else {
        map_free(job->fork);
        job->ok = job->ok && map_set(own, bytes_str("x"), bytes_str("y")) == OK;
        map_free(own);
    }
    return NULL;
}

static void readers_and_a_writer(void **state) {
    (void)state;
    struct map *m;
    uint8_t key[16], value[200];
    assert_int_equal(map_new(&m), OK);
    for (uint64_t i = 0; i < KEYS; i++) assert_int_equal(map_set(m, key_of(key, i), value_of(value, i, 0)), OK);
    pthread_t thread[READERS];
    struct job job[READERS] = {{0}};
    bool running[READERS] = {false};
    for (uint64_t round = 1; round <= ROUNDS; round++) {
        size_t slot = round % READERS;
        if (running[slot]) {
            assert_int_equal(pthread_join(thread[slot], NULL), 0);
            assert_true(job[slot].ok);
        }
        job[slot] = (struct job){.round = round - 1, .seed = round, .write = round % 3 == 0};
        assert_int_equal(map_fork(&job[slot].fork, m), OK);
        assert_int_equal(pthread_create(&thread[slot], NULL, reader, &job[slot]), 0);
        running[slot] = true;
        /* Write what changes in this round, with detours through deletion and other sizes, and ask for the root. */
        struct hash root;
        for (uint64_t i = 0; i < KEYS; i++) {
            if (!written_in(i, round)) continue;
            if (i % 4 == 0) assert_int_equal(map_del(m, key_of(key, i)), OK);
            if (i % 5 == 0) assert_int_equal(map_set(m, key_of(key, i), BYTES_NONE), OK);
            assert_int_equal(map_set(m, key_of(key, i), value_of(value, i, round)), OK);
            if (i % 500 == 0) map_root(m, &root);
        }
    }
    for (size_t slot = 0; slot < READERS; slot++) {
        assert_int_equal(pthread_join(thread[slot], NULL), 0);
        assert_true(job[slot].ok);
    }
    assert_true(read_all(m, ROUNDS));
    map_free(m);
}

int main(void) {
    if (crypto_init() != OK) return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(readers_and_a_writer)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

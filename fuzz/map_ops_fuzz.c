/* A script of operations on some forks of a map, beside plain arrays: contents, order and root agree at the end. Three
 * bytes are one step: what and on which fork, which key, which value. */
#include <stdlib.h>

#include "fuzz.h"
#include "merkle/map.h"

#define FORKS 4
#define KEYS 256

static void require(bool holds) {
    if (!holds) abort();
}

struct side {
    struct map *map;
    bool there[KEYS];
    uint8_t value[KEYS];
};

/* Keys of different lengths, in order of their number, many with a long common prefix. */
static struct bytes key_of(uint8_t out[80], uint8_t number) {
    memset(out, 'x', 80);
    out[number & 0x80 ? 60 : 0] = number;
    out[number & 0x80 ? 0 : 1] = number & 0x80 ? 0xff : 1;
    return bytes_of(out, number & 0x80 ? 61 : 2);
}

/* Values on both sides of the size where their hash is kept. */
static struct bytes value_of(uint8_t out[600], uint8_t number) {
    memset(out, number, 600);
    return bytes_of(out, number % 7 == 0 ? 600 : number % 50);
}

static void step(struct side sides[FORKS], const uint8_t code[3]) {
    struct side *s = &sides[code[0] % FORKS], *from = &sides[code[0] / FORKS % FORKS];
    uint8_t key[80], value[600];
    struct hash root;
    switch (code[0] / 16 % 4) {
    case 0:
        require(map_set(s->map, key_of(key, code[1]), value_of(value, code[2])) == OK);
        s->there[code[1]] = true;
        s->value[code[1]] = code[2];
        break;
    case 1:
        require(map_del(s->map, key_of(key, code[1])) == (s->there[code[1]] ? OK : E_NOT_FOUND));
        s->there[code[1]] = false;
        break;
    case 2: map_root(s->map, &root); break;
    default:
        if (s == from) break;
        map_free(s->map);
        *s = *from;
        require(map_fork(&s->map, from->map) == OK);
    }
}

static void compare(struct side *s) {
    struct map *fresh;
    struct map_iter it;
    struct hash root, rebuilt;
    uint8_t key[80], value[600];
    require(map_new(&fresh) == OK);
    map_seek(s->map, &it, BYTES_NONE, false);
    for (unsigned i = 0; i < KEYS; i++) {
        if (!s->there[i]) continue;
        require(it.valid && bytes_equal(it.key, key_of(key, (uint8_t)i)));
        require(bytes_equal(it.value, value_of(value, s->value[i])));
        map_next(&it);
    }
    require(!it.valid);
    for (unsigned i = KEYS; i-- > 0;) {
        if (s->there[i]) require(map_set(fresh, key_of(key, (uint8_t)i), value_of(value, s->value[i])) == OK);
    }
    map_root(s->map, &root);
    map_root(fresh, &rebuilt);
    require(hash_equal(&root, &rebuilt));
    map_free(fresh);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static bool ready;
    if (!ready) require(crypto_init() == OK);
    ready = true;
    struct side sides[FORKS] = {0};
    for (size_t i = 0; i < FORKS; i++) require(map_new(&sides[i].map) == OK);
    for (; size >= 3; data += 3, size -= 3) step(sides, data);
    for (size_t i = 0; i < FORKS; i++) compare(&sides[i]);
    for (size_t i = 0; i < FORKS; i++) map_free(sides[i].map);
    return 0;
}

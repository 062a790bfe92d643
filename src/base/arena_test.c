#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"

static void test_cap(void **state) {
    (void)state;
    struct arena a;
    arena_init(&a, 0);
    assert_null(arena_alloc(&a, 0));
    arena_init(&a, 100000);
    assert_null(arena_alloc(&a, 100001));
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_null(arena_alloc(&a, SIZE_MAX - 15));
    assert_null(arena_array(&a, SIZE_MAX / 2, 3));
    size_t given = 0;
    while (arena_alloc(&a, 1000) != NULL) given += 1000;
    assert_true(given >= 95000 && given <= 100000);
    assert_true(a.total <= a.max);
    arena_fini(&a);
    assert_int_equal(a.total, 0);
    assert_non_null(arena_alloc(&a, 50000)); /* usable again */
    arena_fini(&a);
}

static void test_zeroed_aligned_disjoint(void **state) {
    (void)state;
    struct arena a;
    arena_init(&a, 4u << 20);
    for (int round = 0; round < 3; round++) {
        uint8_t *last = NULL;
        size_t last_size = 0;
        for (size_t size = 0; size < 2000; size += 7) {
            uint8_t *p = arena_array(&a, size, 3);
            assert_non_null(p);
            assert_int_equal((uintptr_t)p % 16, 0);
            for (size_t i = 0; i < 3 * size; i++) assert_int_equal(p[i], 0);
            memset(p, 0xee, 3 * size);
            for (size_t i = 0; i < last_size; i++) assert_int_equal(last[i], 0xee);
            last = p;
            last_size = 3 * size;
        }
        assert_true(a.total > 128u << 10); /* several chunks were needed */
        arena_reset(&a);
        assert_true(a.total < 128u << 10); /* and one is kept */
    }
    arena_fini(&a);
    arena_reset(&a);
    arena_fini(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cap),
        cmocka_unit_test(test_zeroed_aligned_disjoint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/block.h"

static void aligned_zeroed_writable(void **state) {
    (void)state;
    enum { COUNT = 5 };
    uint8_t *blocks[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        size_t size = (i + 1) * BLOCK_ALIGN;
        blocks[i] = block_alloc(size);
        assert_non_null(blocks[i]);
        assert_int_equal((uintptr_t)blocks[i] % BLOCK_ALIGN, 0);
        for (size_t at = 0; at < size; at += 4093) {
            assert_int_equal(blocks[i][at], 0);
            blocks[i][at] = (uint8_t)(i + 1);
        }
        assert_int_equal(blocks[i][size - 1] == 0 || blocks[i][size - 1] == i + 1, 1);
        blocks[i][size - 1] = (uint8_t)(i + 1);
    }
    for (size_t i = 0; i < COUNT; i++) { /* they do not overlap */
        for (size_t at = 0; at < (i + 1) * BLOCK_ALIGN; at += 4093) assert_int_equal(blocks[i][at], i + 1);
    }
    for (size_t i = 0; i < COUNT; i++) block_free(blocks[i], (i + 1) * BLOCK_ALIGN);
    block_free(NULL, BLOCK_ALIGN);
}

static void refused_sizes(void **state) {
    (void)state;
    assert_null(block_alloc(0));
    assert_null(block_alloc(1));
    assert_null(block_alloc(BLOCK_ALIGN - 1));
    assert_null(block_alloc(BLOCK_ALIGN + 4096));
    assert_null(block_alloc(SIZE_MAX / BLOCK_ALIGN * BLOCK_ALIGN)); /* would wrap */
    assert_null(block_alloc((size_t)1 << 62));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(aligned_zeroed_writable),
        cmocka_unit_test(refused_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

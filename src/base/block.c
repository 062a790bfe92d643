#include "base/block.h"

#include <stdint.h>
#include <sys/mman.h>

void *block_alloc(size_t size) {
    if (size == 0 || size % BLOCK_ALIGN || size > SIZE_MAX - BLOCK_ALIGN) return NULL;
    /* Map one alignment more and give back what lies before and behind. */
    size_t whole = size + BLOCK_ALIGN;
    uint8_t *map = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) return NULL;
    size_t before = (BLOCK_ALIGN - (uintptr_t)map % BLOCK_ALIGN) % BLOCK_ALIGN, behind = BLOCK_ALIGN - before;
    if (before) (void)munmap(map, before);
    if (behind) (void)munmap(map + before + size, behind);
    /* A wish only: without huge pages the block is as good, but slower. */
    (void)madvise(map + before, size, MADV_HUGEPAGE);
    return map + before;
}

void block_free(void *block, size_t size) {
    if (block) (void)munmap(block, size);
}

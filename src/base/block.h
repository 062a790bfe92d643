/* Large blocks of memory straight from the operating system, in huge pages where it has them: for pools that are read at
 * random, where half of the time of a read is otherwise the translation of its address. */
#ifndef NACRE_BASE_BLOCK_H
#define NACRE_BASE_BLOCK_H

#include "base/err.h"

#define BLOCK_ALIGN (2u << 20)

/* size zeroed bytes, a multiple of BLOCK_ALIGN, aligned to it; NULL if there is no memory. */
void *block_alloc(size_t size);
void block_free(void *block, size_t size);

#endif

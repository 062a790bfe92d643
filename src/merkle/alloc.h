/* The module's allocator, in one place so that tests can make any allocation fail. */
#ifndef NACRE_MERKLE_ALLOC_H
#define NACRE_MERKLE_ALLOC_H

#include <stdlib.h>

#ifdef MERKLE_ALLOC
/* The test that defines it includes the sources of the module and counts. */
void *MERKLE_ALLOC(size_t size);
void MERKLE_FREE(void *p);
#else
#define MERKLE_ALLOC malloc
#define MERKLE_FREE free
#endif

#endif

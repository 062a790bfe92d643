/* What a server answers instead of what was asked: any bytes give an error with a printable detail. */
#include <stdlib.h>

#include "engine/mempool.h"
#include "fuzz.h"
#include "net/refusal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct bytes in = bytes_of(data, size);
    struct fault f = {0}, again = {0};
    err_t err = refusal_read(&f, 500, in);
    if (err == OK || f.code != err) abort();
    for (const char *p = f.detail; *p != 0; p++) {
        if (*p < 0x20 || *p > 0x7e) abort();
    }
    /* What is passed on says the same again. */
    for (int json = 0; json < 2; json++) {
        struct buf out;
        buf_init(&out, REFUSAL_MAX);
        refusal_put(&out, &f, json != 0);
        if (buf_err(&out) != OK || refusal_read(&again, 500, buf_bytes(&out)) != err) abort();
        buf_fini(&out);
    }
    /* The mempool's look at bytes that nobody checked stays inside them. */
    struct bytes account = mempool_account_of(in);
    if (account.size != 0 && (account.data < data || account.data + account.size > data + size)) abort();
    return 0;
}

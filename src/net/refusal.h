/* Refusals on the wire: struct fault to the message Refusal (protobuf or JSON) with its HTTP status, and back. */
#ifndef NACRE_NET_REFUSAL_H
#define NACRE_NET_REFUSAL_H

#include "base/bytes.h"

#define REFUSAL_MAX 4096 /* bytes of an encoded refusal that a client reads */

/* The HTTP status of an error: input 400, 403, 404, 409, 413; state 503; resource 429, 503, 504; fatal 500; OK 200. */
unsigned net_status_of(err_t code);

/* Appends the refusal. Bytes of the detail that are not printable ASCII become '?': some came from a peer. */
void refusal_put(struct buf *out, const struct fault *f, bool json);

/* What a body that came with an HTTP status >= 400 says, protobuf or JSON. Returns the code, which is never OK: E_NETWORK
 * with the status if the body is no refusal, E_INTERNAL for a code that this build does not know. f is always filled. */
err_t refusal_read(struct fault *f, unsigned status, struct bytes body) MUST_CHECK;

#endif

/* Calling a program: sealing, sending, waiting for what the workers agreed on, and checking all of it. */
#ifndef NACRE_CMD_NACRE_CALLER_H
#define NACRE_CMD_NACRE_CALLER_H

#include "session.h"

struct caller {
    struct session *s;
    struct signer signer;
    struct target target;
    bool has_pin;
    struct hash pin; /* code that must run */
    uint64_t gas;
    uint32_t lane;
    uint64_t timeout_ms;
    struct client_context context; /* for commands */
    bool has_context;
    uint64_t sequence, height; /* next of the lane, and the height it was read at */
    bool has_sequence;
    size_t member; /* which worker to ask first */
};
/* Finds the program, the key and the records. gas must be a bucket of the network. */
err_t caller_open(struct caller *out, struct session *s, const struct args *a, const char *program) MUST_CHECK;
void caller_close(struct caller *c);

/* A command on its way. */
struct sent {
    struct buf tx;
    struct hash hash;
    struct client_context context; /* a copy: opens the reply */
};
void sent_free(struct sent *x);
/* Seals and submits. E_BAD_NONCE and E_BUSY: nothing was taken; wait for what is on its way and try again. */
err_t caller_send(struct caller *c, struct sent *out, struct bytes input) MUST_CHECK;
/* The same, tried again while the cause is one that passes. */
err_t caller_send_patiently(struct caller *c, struct sent *out, struct bytes input, struct progress *p) MUST_CHECK;

/* What came of a request, proven: body, the receipt's bytes and what they prove. */
struct outcome {
    Nacre__ReplyBody *body;
    struct buf receipt;
    struct verify_report report;
};
void outcome_free(struct outcome *o);
/* Waits until it is ordered, executed and agreed. E_STALE_EPOCH and other failures in execution: it had no effect. */
err_t caller_wait(struct caller *c, struct outcome *out, const struct sent *sent, struct progress *p) MUST_CHECK;

struct question {
    struct bytes input;
    uint64_t min_index, max_age_ms;
};
/* Asks member number `member` of the cluster, proves the answer. */
err_t caller_query(struct caller *c, struct outcome *out, const struct question *q, size_t member, struct progress *p)
    MUST_CHECK;

/* --- what is shown (outcome.c) ----------------------------------------------------------------------------------------- */

/* Writes the output (to --out or standard output), the receipt (--receipt), remarks, and with --json the document. */
int outcome_show(struct session *s, const struct args *a, struct outcome *o, const char *program, size_t agreeing);
/* 0, or the exit code of an outcome that is not "done". */
int outcome_exit(const Nacre__ReplyBody *body);
const char *outcome_status(const Nacre__ReplyBody *body);

#endif

/* Every limit of Nacre, with the reason or the attack beside it. Defaults that an operator may change are in genesis or
 * configuration and documented in docs/PROTOCOL.md; what stands here holds everywhere. */
#ifndef NACRE_BASE_LIMITS_H
#define NACRE_BASE_LIMITS_H

#define LIMIT_TX (1u << 20)           /* one transaction: keeps a block's memory and a peer's frame bounded */
#define LIMIT_BLOCK (4u << 20)        /* transactions of one block: sent to every follower at once */
#define LIMIT_BATCH_ITEMS 4096        /* signed items in one batch: bounds bisection after a bad signature */
#define LIMIT_CODE (8u << 20)         /* one wasm module: compile time is linear in it */
#define LIMIT_CODE_CHUNK (256u << 10) /* one upload chunk: fits a transaction with room for its frame */
#define LIMIT_INPUT (512u << 10)      /* one command's or query's plaintext */
#define LIMIT_OUTPUT (4u << 20)       /* one call's output: "returns too much" */
#define LIMIT_KEY 256                 /* one state key of a program: keeps tree nodes and proofs small */
#define LIMIT_MAP_KEY 320             /* the same with its prefix inside a cluster or chain state */
#define LIMIT_VALUE (1u << 20)        /* one state value */
#define LIMIT_PROOF (256u << 10)      /* one state proof: far above any honest one */
#define LIMIT_RECEIPT (16u << 20)     /* one receipt file */
#define LIMIT_VALIDATORS 512          /* one validator set: bounds signature checks per header */
#define LIMIT_MEMBERS 64              /* members of one cluster: bounds votes in a checkpoint */
#define LIMIT_EVIDENCE (64u << 10)    /* one attestation evidence with its certificate chain */
#define LIMIT_CALL_DEPTH 8            /* nested program calls: bounds native stack and instances */
#define LIMIT_ITERATORS 16            /* open iterators of one call */
#define LIMIT_WASM_STACK \
    (512u                \
     << 10) /* native stack of a program: recursion traps at the same depth everywhere; 1 + LIMIT_CALL_DEPTH of them fit a thread of 8 MiB */
#define LIMIT_WASM_MEMORY (256u << 20) /* linear memory of one instance: sized so that the pool can always serve it */
#define LIMIT_JOURNAL (64u << 20) /* bytes one call may write to state, undone versions included: bounds its memory */
#define LIMIT_TOPIC 64            /* topic of an event */
#define LIMIT_EVENT (64u << 10)   /* data of an event */
#define LIMIT_EVENTS 1024         /* events of one call: bounds what every follower keeps */
#define LIMIT_PROGRAM_LOG (64u << 10)   /* log lines of one call: "logs for ever" */
#define LIMIT_LOG_TAIL 65536            /* entry headers after a page's last payload: bounds one pull's memory */
#define LIMIT_PAGE (4u << 20)           /* payload bytes of one pull */
#define LIMIT_HTTP_BODY (2u << 20)      /* request body a server accepts */
#define LIMIT_HTTP_RESPONSE (32u << 20) /* response body a client accepts */

#endif

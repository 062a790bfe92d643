/* The table of contexts: every byte string that is hashed, signed, derived or sealed starts with one of these, so that no
 * bytes made for one purpose are ever valid for another. docs/PROTOCOL.md cites this table by name. Append only. */
#ifndef NACRE_CRYPTO_CONTEXTS_H
#define NACRE_CRYPTO_CONTEXTS_H

/* X(NAME, text, what follows it) */
#define CRYPTO_CONTEXTS(X)                                                                   \
    X(NET, "NacreNetV1", "network id")                                                       \
    X(ACCOUNT, "NacreAccountV1", "account id from the first key")                            \
    X(PROGRAM, "NacreProgramV1", "program id")                                               \
    X(TX, "NacreTxV1", "transaction body, signed by accounts")                               \
    X(LOG, "NacreLogV1", "cluster log head")                                                 \
    X(VOTE, "NacreVoteV1", "checkpoint vote, signed by workers")                             \
    X(KEY_VOTE, "NacreKeyVoteV1", "program input key of an epoch, signed by workers")        \
    X(STATE_BLIND, "NacreStateBlindV1", "per-index blind of a state root")                   \
    X(STATE_ROOT, "NacreStateRootV1", "published state root")                                \
    X(OUTPUT, "NacreOutputV1", "salted output hash")                                         \
    X(OUTPUT_LEAF, "NacreOutputLeafV1", "leaf of a cluster's output tree")                   \
    X(OUTPUT_SALT, "NacreOutputSaltV1", "salt of an output hash")                            \
    X(CHECKPOINT, "NacreCheckpointV1", "leaf of the tree of agreed checkpoints")             \
    X(BLOCK, "NacreBlockV1", "leaf of the tree of block hashes")                             \
    X(COMMAND, "NacreCommandV1", "HPKE info of a sealed command")                            \
    X(COMMAND_AAD, "NacreCommandAadV1", "HPKE aad of a sealed command")                      \
    X(QUERY, "NacreQueryV1", "HPKE info of a sealed query")                                  \
    X(QUERY_AAD, "NacreQueryAadV1", "HPKE aad of a sealed query")                            \
    X(SPEAKER, "NacreSpeakerV1", "account's signature inside a sealing context")             \
    X(DELEGATE, "NacreDelegateV1", "session key delegated by an account")                    \
    X(ROTATE, "NacreRotateV1", "key rotation statement of an account")                       \
    X(REPLY, "NacreReplyV1", "key of a sealed reply")                                        \
    X(REPLY_HASH, "NacreReplyHashV1", "salted hash of a query's reply")                      \
    X(ANSWER, "NacreAnswerV1", "query answer, signed by a worker")                           \
    X(ANSWER_BATCH, "NacreAnswerBatchV1", "root over several query answers")                 \
    X(REPORT_DATA, "NacreReportDataV1", "attested key bundle")                               \
    X(SIM_EVIDENCE, "NacreSimEvidenceV1", "simulated evidence, signed by a software key")    \
    X(SIM_SEAL, "NacreSimSealV1", "sealing key of a simulated TEE")                          \
    X(SHARE_SEAL, "NacreShareSealV1", "a key service's share on disk")                       \
    X(RELEASE_REQUEST, "NacreReleaseRequestV1", "key release request, signed by a worker")   \
    X(RELEASE_ANSWER, "NacreReleaseAnswerV1", "key release answer, signed by a key service") \
    X(KEY_SERVICE, "NacreKeyServiceV1", "registration of a key service")                     \
    X(DISK_LOG, "NacreDiskLogV1", "a worker's encrypted log record")                         \
    X(DISK_SNAPSHOT, "NacreDiskSnapshotV1", "a worker's encrypted snapshot")                 \
    X(RATCHET, "NacreRatchetV1", "randomness ratchet of a cluster")                          \
    X(RANDOM, "NacreRandomV1", "randomness of one call")                                     \
    X(PROGRAM_KEY, "NacreProgramKeyV1", "a key that a program derived")                      \
    X(PROGRAM_LOG, "NacreProgramLogV1", "a program's log, sealed to its owner")              \
    X(CODE_CACHE, "NacreCodeCacheV1", "compiled code on disk")                               \
    X(WORKER, "NacreWorkerV1", "worker id")                                                  \
    X(ASSIGN, "NacreAssignV1", "order in which workers fill seats")                          \
    X(LOG_KEY, "NacreLogKeyV1", "an account's key that logs of its programs are sealed to")

enum crypto_context {
#define X(name, text, what) CTX_##name,
    CRYPTO_CONTEXTS(X)
#undef X
        CTX_COUNT
};

/* The text of a context. */
const char *context_text(enum crypto_context ctx);

#endif

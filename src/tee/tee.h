/* Evidence producers: what a process inside a TEE asks of its platform. One kind today, SIM: a software key in a file that
 * stands for a machine. It protects nothing and says so wherever a person looks. */
#ifndef NACRE_TEE_TEE_H
#define NACRE_TEE_TEE_H

#include "attest/attest.h"

struct tee;

/* Opens the simulated platform in file path (made by tee_sim_create). The measurement is SHA-256 of the running program
 * file. E_IO, E_CORRUPT with the path in f. */
err_t tee_open_sim(struct tee **out, const char *path, struct fault *f) MUST_CHECK;
void tee_close(struct tee *t); /* NULL is fine */
/* Writes a new simulated platform (mode 0600): issuer seed, platform id, sealing secret. E_DUPLICATE if the file exists. */
err_t tee_sim_create(const char *path, struct fault *f) MUST_CHECK;
/* The issuer's public key, for genesis. */
err_t tee_sim_issuer(uint8_t issuer[KEY_SIZE], const char *path, struct fault *f) MUST_CHECK;
/* SHA-256 of a program file: its simulated measurement, for releases in genesis. */
err_t tee_sim_measure(struct hash *out, const char *program_path, struct fault *f) MUST_CHECK;

Nacre__EvidenceKind tee_kind(const struct tee *t);
void tee_measurement(struct hash *out, const struct tee *t);
/* Appends an Evidence message over report_data. */
err_t tee_evidence(struct buf *out, const struct tee *t, const uint8_t report_data[REPORT_DATA_SIZE]) MUST_CHECK;
/* A key that only this program on this platform gets, for sealing under a context and network. */
void tee_seal_key(struct secret *out, const struct tee *t, enum crypto_context ctx, const struct hash *net);

#endif

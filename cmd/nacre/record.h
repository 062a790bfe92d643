/* Messages as JSON and as text, by their descriptors: what the chain stores, as a person reads it. */
#ifndef NACRE_CMD_NACRE_RECORD_H
#define NACRE_CMD_NACRE_RECORD_H

#include "cli.h"
#include "proto/codec.h"

/* Bytes as hex, amounts as decimal numbers, enums by name, defaults left out. Gives. */
json_t *record_json(const ProtobufCMessage *message);
/* The same as indented lines "name  value" on standard output, unless --json. */
void record_print(const struct cli *c, json_t *record);

#endif

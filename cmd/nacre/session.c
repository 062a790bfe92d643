#include "session.h"

#include <stdlib.h>

#include "devnet.h"
#include "keys.h"
#include "net/refusal.h"
#include "networks.h"
#include "store/store.h"

#define CALL_TIMEOUT_MS 40000
#define HEAD_AGE_MAX_MS 120000 /* a node whose newest block is older shows us the past (heartbeats come every 10 s) */

/* --- opening ----------------------------------------------------------------------------------------------------------- */

static err_t use_genesis_file(struct session *s, const char *path) {
    struct buf file;
    buf_init(&file, GENESIS_MAX);
    err_t err = file_read(&file, path, GENESIS_MAX, &s->fault);
    if (err == OK) err = genesis_parse(&s->genesis, buf_bytes(&file), &s->fault);
    if (err == OK) {
        s->has_genesis = true;
        err = networks_remember(s->cli, buf_bytes(&file), &s->genesis, &s->fault);
    }
    buf_fini(&file);
    return err;
}

/* The node says which network it serves; what that network is, we know ourselves. */
static err_t use_known_genesis(struct session *s) {
    struct buf body;
    struct genesis claimed;
    buf_init(&body, GENESIS_MAX);
    err_t err = session_http(s, &body, NET_GET, s->node, "/v1/genesis", BYTES_NONE, false, CALL_TIMEOUT_MS);
    if (err == OK) err = genesis_parse(&claimed, buf_bytes(&body), &s->fault);
    buf_fini(&body);
    if (err != OK) return err;
    err = networks_known(&s->genesis, s->cli, claimed.chain_id, &s->fault);
    genesis_free(&claimed);
    s->has_genesis = err == OK;
    return err;
}

static err_t find_node(struct session *s, struct devnet *d, bool *on_devnet) {
    const struct cli *c = s->cli;
    char dir[CLI_PATH_MAX];
    TRY(devnet_dir(dir, c, NULL, &s->fault));
    err_t err = devnet_read(d, dir, &s->fault);
    const struct devnet_process *node = err == OK ? devnet_find(d, "node") : NULL;
    if (c->node) {
        int n = snprintf(s->node, sizeof s->node, "%s", c->node);
        if (n < 0 || (size_t)n >= sizeof s->node) return fault_set(&s->fault, E_USAGE, "--node is too long");
        if (strncmp(c->node, "http://", 7) != 0 && strncmp(c->node, "https://", 8) != 0) {
            return fault_set(&s->fault, E_USAGE, "--node \"%.100s\" is not an http:// or https:// URL", c->node);
        }
        *on_devnet = node && node->pid && strcmp(node->endpoint, s->node) == 0;
        return OK;
    }
    if (err != OK || !d->supervisor || !node || !node->endpoint[0]) {
        (void)fault_set(&s->fault, E_NETWORK,
                        err == OK ? "the devnet in %s is not running"
                                  : "no node was named and there is no devnet in %s",
                        dir);
        s->fault.remedy = "start a devnet with 'nacre up', or name a node with --node URL";
        return E_NETWORK;
    }
    (void)snprintf(s->node, sizeof s->node, "%s", node->endpoint);
    *on_devnet = true;
    return OK;
}

static err_t open_parts(struct session *s) {
    static struct devnet d;
    bool on_devnet = false;
    char path[CLI_PATH_MAX];
    TRY(find_node(s, &d, &on_devnet));
    TRY(net_client_new(&s->http));
    if (s->cli->genesis) {
        TRY(use_genesis_file(s, s->cli->genesis));
    } else if (on_devnet) {
        TRY(path_make(path, &s->fault, "%s/genesis.json", d.dir));
        TRY(use_genesis_file(s, path));
    } else {
        TRY(use_known_genesis(s));
    }
    if (on_devnet) s->devnet_cluster = d.cluster;
    TRY(networks_load_trust(&s->trust, s->cli, &s->genesis, &s->fault));
    s->saved_height = s->trust.height;
    return OK;
}

err_t session_open(struct session *s, const struct cli *c) {
    *s = (struct session){.cli = c};
    err_t err = open_parts(s);
    if (err != OK && s->fault.code != err) (void)fault_set(&s->fault, err, "%s", "");
    return err;
}

void session_close(struct session *s) {
    struct fault f = {0};
    if (s->has_genesis && s->trust.height > s->saved_height && networks_save_trust(s->cli, &s->trust, &f) != OK) {
        out_note(s->cli, "could not save how far the chain was verified: %s", f.detail);
    }
    net_client_free(s->http);
    codec_free(s->params);
    if (s->has_genesis) genesis_free(&s->genesis);
    *s = (struct session){0};
}

int session_fail(struct session *s, err_t err) {
    return cli_fail_with(s->cli, err, &s->fault);
}

/* --- HTTP -------------------------------------------------------------------------------------------------------------- */

err_t session_http(struct session *s, struct buf *body, enum net_method method, const char *base, const char *path,
                   struct bytes request, bool json, unsigned timeout_ms) {
    unsigned status;
    struct buf answer;
    buf_init(&answer, LIMIT_HTTP_RESPONSE);
    err_t err = net_call(s->http, &status, &answer, method, base, path, request, json, timeout_ms, &s->fault);
    if (err == OK && status >= 400) err = refusal_read(&s->fault, status, buf_bytes(&answer));
    if (err == OK) {
        buf_put_bytes(body, buf_bytes(&answer));
        err = buf_err(body);
    }
    buf_fini(&answer);
    if (err != OK && s->fault.code != err) (void)fault_set(&s->fault, err, "%s%s", base, path);
    return err;
}

err_t session_json(json_t **out, struct session *s, const char *base, const char *path) {
    struct buf body;
    buf_init(&body, LIMIT_HTTP_RESPONSE);
    err_t err = session_http(s, &body, NET_GET, base, path, BYTES_NONE, true, CALL_TIMEOUT_MS);
    if (err == OK) {
        *out = json_loadb((const char *)body.data, body.size, 0, NULL);
        if (!*out) err = fault_set(&s->fault, E_MALFORMED, "%s%s did not answer with JSON", base, path);
    }
    buf_fini(&body);
    return err;
}

/* --- proven state ----------------------------------------------------------------------------------------------------------- */

static err_t check_fresh(struct session *s, const struct light_header *header) {
    int64_t head_ms = header->time.seconds * 1000 + header->time.nanos / 1000000;
    int64_t age_ms = (int64_t)wall_ms() - head_ms;
    if (age_ms <= HEAD_AGE_MAX_MS) return OK;
    (void)fault_set(&s->fault, E_STALE, "the newest block of %s is %ld s old", s->node, (long)(age_ms / 1000));
    s->fault.remedy = "the node is behind or cut off: ask another one, or check this machine's clock";
    return E_STALE;
}

err_t session_state(struct session *s, Nacre__StateAnswer **out, struct light_header *header,
                    const struct state_key *keys, size_t count) {
    struct buf request, body;
    struct light_header proven;
    Nacre__StateAnswer *answer = NULL;
    buf_init(&request, 64 * SESSION_KEYS_MAX);
    buf_init(&body, LIMIT_HTTP_RESPONSE);
    for (size_t i = 0; i < count; i++) buf_put_lp(&request, state_key_bytes(&keys[i]));
    err_t err = buf_err(&request);
    if (err == OK) {
        err = session_http(s, &body, NET_POST, s->node, "/v1/state", buf_bytes(&request), false, CALL_TIMEOUT_MS);
    }
    if (err == OK) {
        err = verify_state_answer(&s->trust, &proven, &answer, buf_bytes(&body), keys, count, &s->fault);
    }
    if (err == OK) err = check_fresh(s, &proven);
    buf_fini(&request);
    buf_fini(&body);
    if (err != OK) {
        codec_free(answer);
        return err;
    }
    if (header) *header = proven;
    *out = answer;
    return OK;
}

err_t session_item(struct session *s, void *out, const ProtobufCMessageDescriptor *type, const Nacre__StateItem *item,
                   err_t absent, const char *what) {
    if (item->absent) return fault_set(&s->fault, absent, "%s", what);
    err_t err = codec_unpack(out, type, codec_bytes(item->value), LIMIT_VALUE);
    return err == OK ? OK : fault_set(&s->fault, err, "the record of %s", what);
}

err_t session_record(struct session *s, void *out, const ProtobufCMessageDescriptor *type, struct state_key key,
                     err_t absent, const char *what) {
    Nacre__StateAnswer *answer;
    TRY(session_state(s, &answer, NULL, &key, 1));
    err_t err = session_item(s, out, type, answer->items[0], absent, what);
    codec_free(answer);
    return err;
}

err_t session_params(struct session *s) {
    if (s->params) return OK;
    return session_record(s, &s->params, &nacre__params__descriptor, state_key_global("params"), E_NOT_FOUND,
                          "the network's parameters");
}

err_t session_light_block(struct session *s, struct buf *out, struct light_header *header, uint64_t height) {
    char path[64];
    struct buf body;
    struct light_block block = {0};
    (void)snprintf(path, sizeof path, "/v1/light/%lu", (unsigned long)height);
    buf_init(&body, LIGHT_BLOCK_MAX);
    err_t err = session_http(s, &body, NET_GET, s->node, path, BYTES_NONE, false, CALL_TIMEOUT_MS);
    if (err == OK) err = light_block_decode(&block, buf_bytes(&body));
    if (err == OK) {
        struct light_trust trust;
        genesis_trust(&trust, &s->genesis);
        err = light_advance(&trust, &block, &s->fault);
        if (err == OK && block.header.height != height) {
            err = fault_set(&s->fault, E_BAD_HEADER, "asked for block %lu, got %lu", (unsigned long)height,
                            (unsigned long)block.header.height);
        }
        if (err == OK) {
            light_commit_trim(&block.commit, &block.validators);
            light_block_encode(out, &block);
            err = buf_err(out);
            *header = block.header;
        }
        light_block_fini(&block);
    }
    buf_fini(&body);
    if (err != OK && s->fault.code != err) (void)fault_set(&s->fault, err, "block %lu", (unsigned long)height);
    return err;
}

/* Whether a node is of the network that its caller means: asked once at a start, so that a wrong address is told at once. */
#include <jansson.h>

#include "net/net.h"

#define STATUS_MAX (64u << 10)
#define STATUS_MS 3000

static err_t compare(struct bytes body, const char *node, const char *chain_id, struct fault *f) {
    json_t *status = json_loadb((const char *)body.data, body.size, 0, NULL);
    const char *theirs = json_string_value(json_object_get(status, "chain_id"));
    err_t err = OK;
    if (theirs && strcmp(theirs, chain_id) != 0) {
        err = fault_set(f, E_WRONG_NETWORK, "the node at %s is of network %.60s, genesis is of %s", node, theirs,
                        chain_id);
        if (f) f->remedy = "use the genesis file of the node's network, or a node of this one";
    }
    json_decref(status);
    return err;
}

err_t net_expect_network(const char *node, const char *chain_id, struct fault *f) {
    struct net_client *client;
    struct buf body;
    unsigned status = 0;
    TRY(net_client_new(&client));
    buf_init(&body, STATUS_MAX);
    err_t err = net_call(client, &status, &body, NET_GET, node, "/v1/status", BYTES_NONE, true, STATUS_MS, NULL);
    err = err == OK && status == 200 ? compare(buf_bytes(&body), node, chain_id, f) : OK;
    buf_fini(&body);
    net_client_free(client);
    return err;
}

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "net/net.h"

static void answer(void *ctx, const struct net_request *request, struct net_response *response) {
    (void)request;
    buf_put_str(&response->body, ctx);
}

static err_t ask(const char *says, struct fault *f) {
    char text[256], url[64];
    struct net_server_config config = {.bind_address = "127.0.0.1"};
    struct net_server *server;
    (void)snprintf(text, sizeof text, "%s", says);
    assert_int_equal(net_server_start(&server, &config, answer, text, f), OK);
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u", net_server_port(server));
    err_t err = net_expect_network(url, "nacre-ours", f);
    net_server_stop(server);
    return err;
}

static void test_node_of_another_network(void **state) {
    (void)state;
    struct fault f = {0};
    assert_int_equal(ask("{\"chain_id\":\"nacre-theirs\"}", &f), E_WRONG_NETWORK);
    assert_non_null(strstr(f.detail, "nacre-theirs"));
    assert_non_null(strstr(f.detail, "nacre-ours"));
    assert_int_equal(ask("{\"chain_id\":\"nacre-ours\"}", &f), OK);
    /* Whatever is no statement about the network is left to the proofs. */
    assert_int_equal(ask("", &f), OK);
    assert_int_equal(ask("{\"chain_id\":7}", &f), OK);
    assert_int_equal(ask("<html>", &f), OK);
    assert_int_equal(net_expect_network("http://127.0.0.1:1", "nacre-ours", &f), OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_node_of_another_network)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The client: one libcurl handle, so that connections stay open between calls. */
#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "net/net.h"

#define CONNECT_TIMEOUT_MS 10000L
#define URL_MAX 2048

struct net_client {
    CURL *curl;
    struct curl_slist *protobuf_headers, *json_headers;
    char cause[CURL_ERROR_SIZE];
};

static void init_curl(void) {
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) abort();
}

struct sink {
    struct buf *body;
    size_t room;
    bool too_big;
};

static size_t take(char *data, size_t one, size_t count, void *ctx) {
    struct sink *sink = ctx;
    size_t size = one * count;
    if (size > sink->room) {
        sink->too_big = true;
        return 0;
    }
    sink->room -= size;
    buf_put(sink->body, data, size);
    return buf_err(sink->body) == OK ? size : 0;
}

static struct curl_slist *headers_for(const char *type) {
    static const char *const names[] = {"Content-Type", "Accept"};
    /* curl would ask before it sends a body of a megabyte, and wait a second where nobody answers. */
    struct curl_slist *list = curl_slist_append(NULL, "Expect:");
    for (size_t i = 0; list != NULL && i < 2; i++) {
        char line[80];
        (void)snprintf(line, sizeof line, "%s: %s", names[i], type);
        struct curl_slist *longer = curl_slist_append(list, line);
        if (longer == NULL) curl_slist_free_all(list);
        list = longer;
    }
    return list;
}

err_t net_client_new(struct net_client **out) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    if (pthread_once(&once, init_curl) != 0) return E_INTERNAL;
    struct net_client *c = calloc(1, sizeof *c);
    if (c == NULL) return E_NO_MEMORY;
    c->curl = curl_easy_init();
    c->protobuf_headers = headers_for("application/x-protobuf");
    c->json_headers = headers_for("application/json");
    if (c->curl == NULL || c->protobuf_headers == NULL || c->json_headers == NULL) {
        net_client_free(c);
        return E_NO_MEMORY;
    }
    *out = c;
    return OK;
}

void net_client_free(struct net_client *c) {
    if (c == NULL) return;
    curl_easy_cleanup(c->curl);
    curl_slist_free_all(c->protobuf_headers);
    curl_slist_free_all(c->json_headers);
    free(c);
}

static CURLcode prepare(struct net_client *c, const char *url, struct sink *sink, enum net_method method,
                        struct bytes request_body, bool json, unsigned timeout_ms) {
    CURL *h = c->curl;
    curl_easy_reset(h); /* options only; connections stay */
    c->cause[0] = 0;
    CURLcode rc = curl_easy_setopt(h, CURLOPT_URL, url);
#define SET(option, value) \
    if (rc == CURLE_OK) rc = curl_easy_setopt(h, option, value)
    SET(CURLOPT_ERRORBUFFER, c->cause);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_PROXY, "");
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_TCP_NODELAY, 1L);
    SET(CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
    SET(CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    SET(CURLOPT_HTTPHEADER, json ? c->json_headers : c->protobuf_headers);
    SET(CURLOPT_WRITEFUNCTION, take);
    SET(CURLOPT_WRITEDATA, sink);
    if (method == NET_POST) {
        SET(CURLOPT_POST, 1L);
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request_body.size);
        SET(CURLOPT_POSTFIELDS, request_body.size > 0 ? (const char *)request_body.data : "");
    }
#undef SET
    return rc;
}

err_t net_call(struct net_client *c, unsigned *status, struct buf *body, enum net_method method, const char *base,
               const char *path, struct bytes request_body, bool json, unsigned timeout_ms, struct fault *f) {
    char url[URL_MAX];
    size_t base_size = strlen(base);
    if (base_size > 0 && base[base_size - 1] == '/' && path[0] == '/') base_size--;
    int n = snprintf(url, sizeof url, "%.*s%s", (int)(base_size < URL_MAX ? base_size : URL_MAX), base, path);
    if (n < 0 || (size_t)n >= sizeof url)
        return fault_set(f, E_TOO_BIG, "a URL of %zu bytes", base_size + strlen(path));
    struct sink sink = {body, LIMIT_HTTP_RESPONSE, false};
    CURLcode rc = prepare(c, url, &sink, method, request_body, json, timeout_ms);
    if (rc == CURLE_OK) rc = curl_easy_perform(c->curl);
    const char *cause = c->cause[0] != 0 ? c->cause : curl_easy_strerror(rc);
    switch (rc) {
    case CURLE_OK: break;
    case CURLE_OPERATION_TIMEDOUT:
        return fault_set(f, E_TIMEOUT, "%s did not answer in %u ms: %s", url, timeout_ms, cause);
    case CURLE_OUT_OF_MEMORY: return fault_set(f, E_NO_MEMORY, "%s", url);
    case CURLE_WRITE_ERROR:
        if (sink.too_big || buf_err(body) == E_TOO_BIG) return fault_set(f, E_TOO_BIG, "the answer of %s", url);
        return fault_set(f, E_NO_MEMORY, "the answer of %s", url);
    default: return fault_set(f, E_NETWORK, "%s: %s", url, cause);
    }
    long code = 0;
    if (curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &code) != CURLE_OK || code < 100 || code > 999) {
        return fault_set(f, E_NETWORK, "%s: no HTTP status", url);
    }
    *status = (unsigned)code;
    return OK;
}

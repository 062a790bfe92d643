/* nacre list and nacre transfer. */
#include <ctype.h>
#include <stdlib.h>

#include "keys.h"
#include "session.h"

/* --- list ----------------------------------------------------------------------------------------------------------------- */

static const char *text_of(const json_t *item, const char *const *names, char number[24]) {
    for (; *names; names++) {
        const json_t *value = json_object_get(item, *names);
        if (json_is_string(value)) return json_string_value(value);
        if (json_is_integer(value)) {
            (void)snprintf(number, 24, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
            return number;
        }
    }
    return "";
}

static bool is_simulated(const json_t *item) {
    const json_t *tee = json_object_get(item, "tee"), *tier = json_object_get(item, "tier");
    if (json_is_string(tee)) return strcmp(json_string_value(tee), "sim") == 0;
    return json_is_integer(tier) && json_integer_value(tier) == 0;
}

static void print_item(const struct cli *c, const char *what, const json_t *item) {
    static const char *const ids[] = {"id", "measurement", NULL}, *const names[] = {"name", "label", NULL},
                             *const more[] = {"status", "endpoint", "role", "cluster", NULL};
    char a[24], b[24], d[24];
    const char *mark = strcmp(what, "workers") == 0 && is_simulated(item) ? out_simulated(c->color_out) : "";
    out_text(c, "  %-16s %-10s %s  %s", text_of(item, names, b), text_of(item, more, d), text_of(item, ids, a), mark);
}

static int run_list(const struct cli *c, const struct args *a) {
    struct session s;
    json_t *list = NULL;
    const char *what = a->words[0];
    err_t err = session_open(&s, c);
    if (err == OK) err = session_list(&list, &s, what);
    int code;
    if (err == OK) {
        size_t count = json_array_size(list);
        out_text(c, "%zu %.*s, as the node says", count, (int)(strlen(what) - (count == 1 ? 1 : 0)), what);
        for (size_t i = 0; i < count; i++) print_item(c, what, json_array_get(list, i));
        code = cli_json(c, list);
    } else {
        code = session_fail(&s, err);
    }
    session_close(&s);
    return code;
}

const struct verb cli_list = {
    .name = "list",
    .usage = "programs | workers | clusters | releases",
    .summary = "what there is on the network (the node's word; `inspect` proves a single one)",
    .words = "programs workers clusters releases",
    .words_least = 1,
    .words_most = 1,
    .run = run_list,
};

/* --- transfer --------------------------------------------------------------------------------------------------------------- */

#define NCR_DIGITS 9

/* "1500" units, or "1.5ncr". */
static err_t parse_amount(amount_t *out, const char *text, struct fault *f) {
    char digits[64];
    size_t size = strlen(text), at = 0, after_point = 0;
    bool in_ncr = size > 3 && strcmp(text + size - 3, "ncr") == 0, point = false;
    if (in_ncr) size -= 3;
    err_t err = size > 0 && size < sizeof digits - NCR_DIGITS ? OK : E_MALFORMED;
    for (size_t i = 0; i < size && err == OK; i++) {
        if (text[i] == '.' && in_ncr && !point && i > 0) {
            point = true;
        } else if (isdigit((unsigned char)text[i]) && (!point || after_point < NCR_DIGITS)) {
            digits[at++] = text[i];
            after_point += point;
        } else {
            err = E_MALFORMED;
        }
    }
    for (; in_ncr && err == OK && after_point < NCR_DIGITS; after_point++) digits[at++] = '0';
    digits[at] = 0;
    if (err == OK) err = amount_parse(out, digits);
    if (err == OK) return OK;
    return fault_set(f, E_USAGE, "\"%.40s\" is not an amount: units as 1500, or with the unit as 1.5ncr", text);
}

static err_t transfer(struct session *s, const struct args *a, struct hash *to, char amount_text[AMOUNT_TEXT_MAX]) {
    struct signer signer;
    uint8_t encoded[AMOUNT_ENCODED];
    amount_t amount;
    Nacre__Transfer message = NACRE__TRANSFER__INIT;
    Nacre__TxBody body = NACRE__TX_BODY__INIT;
    Nacre__TxStatus *status;
    TRY(key_account(to, s->cli, a->words[0], &s->fault));
    TRY(parse_amount(&amount, a->words[1], &s->fault));
    TRY(signer_open(&signer, s));
    amount_encode(encoded, amount);
    amount_format(amount_text, amount);
    message.to = codec_field(BYTES(to->bytes));
    message.amount = CODEC_ARRAY(encoded);
    body.msg_case = NACRE__TX_BODY__MSG_TRANSFER;
    body.transfer = &message;
    err_t err = session_send(s, &status, &signer, &body, 0, "the transfer");
    if (err == OK) codec_free(status);
    signer_close(&signer);
    return err;
}

static int run_transfer(const struct cli *c, const struct args *a) {
    struct session s;
    struct hash to;
    char amount[AMOUNT_TEXT_MAX], id[2 * HASH_SIZE + 1];
    err_t err = session_open(&s, c);
    if (err == OK) err = transfer(&s, a, &to, amount);
    int code;
    if (err == OK) {
        hex_encode(id, BYTES(to.bytes));
        out_text(c, "transferred %s units", amount);
        out_field(c, "to", "%s", id);
        code = cli_json(c, json_pack("{s:s,s:s}", "to", id, "amount", amount));
    } else {
        code = session_fail(&s, err);
    }
    session_close(&s);
    return code;
}

const struct verb cli_transfer = {
    .name = "transfer",
    .usage = "TO AMOUNT",
    .summary = "send money to an account (one of your keys, or 64 hex digits)",
    .detail = "AMOUNT is in units, or in NCR: 1ncr is 10^9 units. On a devnet the key dev has plenty.\n\n"
              "  nacre transfer alice 5ncr\n",
    .words_least = 2,
    .words_most = 2,
    .run = run_transfer,
};

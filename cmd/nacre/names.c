/* From what a person types to identifiers. */
#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>

#include "networks.h"
#include "session.h"

#define LIST_PAGE 500
#define LIST_MOST 20000
#define PREFIX_MIN 4 /* digits of an id that may stand for it */

/* Identifier of a list's item as text: a number for clusters, hex for the rest. */
static bool item_id(char out[2 * 48 + 1], const json_t *item) {
    const json_t *id = json_object_get(item, "id");
    if (!id) id = json_object_get(item, "measurement");
    if (json_is_integer(id)) return snprintf(out, 97, "%" JSON_INTEGER_FORMAT, json_integer_value(id)) > 0;
    const char *text = json_string_value(id);
    return text && snprintf(out, 97, "%s", text) > 0;
}

static const char *item_name(const json_t *item) {
    const char *name = json_string_value(json_object_get(item, "name"));
    if (!name) name = json_string_value(json_object_get(item, "label"));
    return name ? name : "";
}

err_t session_list(json_t **out, struct session *s, const char *what) {
    json_t *all = json_array();
    char after[97] = "";
    for (;;) {
        char path[256];
        json_t *page;
        (void)snprintf(path, sizeof path, "/v1/list/%s?limit=%d%s%s", what, LIST_PAGE, after[0] ? "&after=" : "",
                       after);
        err_t err = session_json(&page, s, s->node, path);
        if (err == OK && !json_is_array(page)) {
            json_decref(page);
            err = fault_set(&s->fault, E_MALFORMED, "the node's list of %s is not a list", what);
        }
        if (err != OK) {
            json_decref(all);
            return err;
        }
        size_t count = json_array_size(page);
        (void)json_array_extend(all, page);
        bool more =
            count == LIST_PAGE && json_array_size(all) < LIST_MOST && item_id(after, json_array_get(page, count - 1));
        json_decref(page);
        if (!more) break;
    }
    *out = all;
    return OK;
}

struct match {
    size_t count;
    char id[97];
};

/* Items with this very name, or else those whose id starts with the word. */
static struct match find(const json_t *list, const char *word) {
    struct match named = {0}, prefixed = {0};
    for (size_t i = 0; i < json_array_size(list); i++) {
        char id[97];
        const json_t *item = json_array_get(list, i);
        if (!item_id(id, item)) continue;
        if (strcmp(item_name(item), word) == 0 && named.count++ == 0) memcpy(named.id, id, sizeof id);
        if (strlen(word) >= PREFIX_MIN && strncmp(id, word, strlen(word)) == 0 && prefixed.count++ == 0) {
            memcpy(prefixed.id, id, sizeof id);
        }
    }
    return named.count > 0 ? named : prefixed;
}

static err_t none_found(struct session *s, const json_t *list, const char *word, err_t absent, const char *what) {
    const char *names[256];
    size_t count = 0;
    for (size_t i = 0; i < json_array_size(list) && count < 256; i++) {
        const char *name = item_name(json_array_get(list, i));
        if (name[0]) names[count++] = name;
    }
    const char *meant = args_meant(word, names, count);
    if (meant) return fault_set(&s->fault, absent, "%s \"%.64s\"; did you mean \"%s\"?", what, word, meant);
    return fault_set(&s->fault, absent, "%s \"%.64s\"", what, word);
}

static err_t resolve(char id[97], struct session *s, const char *list_name, const char *word, err_t absent,
                     const char *what) {
    json_t *list;
    TRY(session_list(&list, s, list_name));
    struct match m = find(list, word);
    err_t err = OK;
    if (m.count == 0) {
        err = none_found(s, list, word, absent, what);
    } else if (m.count > 1) {
        err = fault_set(&s->fault, E_USAGE, "%zu %ss fit \"%.64s\"", m.count, what, word);
        s->fault.remedy = "give the whole identifier: see 'nacre list'";
    } else {
        memcpy(id, m.id, sizeof m.id);
    }
    json_decref(list);
    return err;
}

err_t session_program(struct hash *out, struct session *s, const char *word) {
    char id[97];
    if (hex_decode(out->bytes, HASH_SIZE, word) == OK) return OK;
    if (networks_pinned_program(out, s->cli, s->genesis.chain_id, word) == OK) return OK;
    TRY(resolve(id, s, "programs", word, E_UNKNOWN_PROGRAM, "program"));
    if (hex_decode(out->bytes, HASH_SIZE, id) != OK) {
        return fault_set(&s->fault, E_MALFORMED, "the node names a program \"%.70s\"", id);
    }
    if (strncmp(id, word, strlen(word)) == 0) return OK; /* a prefix, not a name */
    out_note(s->cli, "\"%s\" is program %s (remembered; names are not unique, the identifier is)", word, id);
    return networks_pin_program(s->cli, s->genesis.chain_id, word, out, &s->fault);
}

err_t session_worker(struct hash *out, struct session *s, const char *word) {
    char id[97];
    if (hex_decode(out->bytes, HASH_SIZE, word) == OK) return OK;
    TRY(resolve(id, s, "workers", word, E_UNKNOWN_WORKER, "worker"));
    if (hex_decode(out->bytes, HASH_SIZE, id) == OK) return OK;
    return fault_set(&s->fault, E_MALFORMED, "the node names a worker \"%.70s\"", id);
}

static err_t cluster_number(uint64_t *out, struct session *s, const char *text) {
    return args_number(out, text, "cluster", &s->fault);
}

err_t session_cluster(uint64_t *out, struct session *s, const char *word) {
    char id[97];
    if (word && word[0] && strspn(word, "0123456789") == strlen(word)) return cluster_number(out, s, word);
    if (word) {
        TRY(resolve(id, s, "clusters", word, E_UNKNOWN_CLUSTER, "cluster"));
        return cluster_number(out, s, id);
    }
    if (s->devnet_cluster) {
        *out = s->devnet_cluster;
        return OK;
    }
    json_t *list;
    TRY(session_list(&list, s, "clusters"));
    size_t count = json_array_size(list);
    err_t err = OK;
    if (count != 1 || !item_id(id, json_array_get(list, 0))) {
        err = fault_set(&s->fault, E_USAGE, "there are %zu clusters: choose one with --cluster", count);
        s->fault.remedy = "see 'nacre list clusters'";
    } else {
        err = cluster_number(out, s, id);
    }
    json_decref(list);
    return err;
}

/* --- targets -------------------------------------------------------------------------------------------------------------- */

void target_free(struct target *t) {
    codec_free(t->program);
    codec_free(t->cluster);
    for (size_t i = 0; i < t->worker_count; i++) codec_free(t->workers[i]);
    codec_free(t->answer);
    *t = (struct target){0};
}

bool target_is_simulated(const struct target *t) {
    for (size_t i = 0; i < t->worker_count; i++) {
        if (t->workers[i]->tier == 0) return true;
    }
    return t->worker_count == 0;
}

static int compare_keys(const void *a, const void *b) {
    return memcmp(((const struct state_key *)a)->bytes, ((const struct state_key *)b)->bytes, 1 + HASH_SIZE);
}

static err_t read_target(struct target *t, struct session *s, const struct hash *program,
                         const Nacre__ClusterRecord *hint) {
    struct state_key keys[SESSION_KEYS_MAX] = {state_key_hash('p', program), state_key_number('c', hint->id)};
    size_t count = 2;
    for (size_t i = 0; i < hint->n_members && count < SESSION_KEYS_MAX; i++) {
        struct hash id;
        TRY(codec_copy(id.bytes, HASH_SIZE, hint->members[i]->worker));
        keys[count++] = state_key_hash('w', &id);
    }
    qsort(keys + 2, count - 2, sizeof *keys, compare_keys); /* receipts want workers by id */
    TRY(session_state(s, &t->answer, &t->header, keys, count));
    t->program_item = t->answer->items[0];
    t->cluster_item = t->answer->items[1];
    TRY(session_item(s, &t->program, &nacre__program_record__descriptor, t->program_item, E_UNKNOWN_PROGRAM, "it"));
    TRY(session_item(s, &t->cluster, &nacre__cluster_record__descriptor, t->cluster_item, E_UNKNOWN_CLUSTER,
                     "its cluster"));
    for (size_t i = 2; i < count; i++) {
        if (t->answer->items[i]->absent) continue;
        TRY(session_item(s, &t->workers[t->worker_count], &nacre__worker_record__descriptor, t->answer->items[i],
                         E_UNKNOWN_WORKER, "a member"));
        t->worker_items[t->worker_count++] = t->answer->items[i];
    }
    return OK;
}

err_t session_target_records(struct target *out, struct session *s, const struct hash *program) {
    char id[2 * HASH_SIZE + 1];
    Nacre__ProgramRecord *record;
    Nacre__ClusterRecord *cluster;
    hex_encode(id, BYTES(program->bytes));
    TRY(session_record(s, &record, &nacre__program_record__descriptor, state_key_hash('p', program), E_UNKNOWN_PROGRAM,
                       id));
    uint64_t number = record->cluster;
    codec_free(record);
    TRY(session_record(s, &cluster, &nacre__cluster_record__descriptor, state_key_number('c', number),
                       E_UNKNOWN_CLUSTER, "the program's cluster"));
    struct target t = {0};
    err_t err = read_target(&t, s, program, cluster);
    codec_free(cluster);
    if (err != OK) {
        target_free(&t);
        return err;
    }
    *out = t;
    return OK;
}

err_t session_target(struct target *out, struct session *s, const struct hash *program) {
    struct target t;
    TRY(session_target_records(&t, s, program));
    err_t err =
        client_target_init(&t.sealing, &s->genesis.net, t.cluster, t.program, t.workers, t.worker_count, &s->fault);
    if (err != OK) {
        target_free(&t);
        return err;
    }
    *out = t;
    return OK;
}

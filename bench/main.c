/* nacre-bench: runs the groups, each in a process of its own, prints one table and writes the JSON beside it.
 *
 *     nacre-bench [--quick] [--json FILE] [--binaries DIR] [--source DIR] [GROUP...]
 *
 * Exit status 0: everything was measured, whether bars are met or not. 1: a group could not be measured. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <jansson.h>

#include "bench.h"
#include "crypto/crypto.h"

static const struct {
    const char *name;
    bench_group_fn run;
} groups[] = {
    {"kernels", bench_kernels}, {"programs", bench_programs}, {"map", bench_map},     {"commands", bench_commands},
    {"workers", bench_workers}, {"queries", bench_queries},   {"state", bench_state}, {"devnet", bench_devnet},
};
#define GROUPS (sizeof groups / sizeof *groups)
#define ROWS_MAX 128

struct table {
    size_t count, failed;
    struct bench_row rows[ROWS_MAX];
};

static bool met(const struct bench_row *r) {
    return r->direction == BENCH_AT_MOST ? r->median <= r->bar : r->median >= r->bar;
}

/* Runs one group in a child and takes its rows. */
static void run_group(struct table *t, struct bench *b, bench_group_fn run) {
    int ends[2], status = 0;
    struct bench_row row;
    if (pipe2(ends, O_CLOEXEC) != 0) exit(1);
    fflush(NULL);
    pid_t child = fork();
    if (child < 0) exit(1);
    if (child == 0) {
        close(ends[0]);
        b->out = fdopen(ends[1], "wb");
        if (b->out == NULL || crypto_init() != OK) exit(1);
        run(b);
        fclose(b->out);
        exit(0);
    }
    close(ends[1]);
    FILE *in = fdopen(ends[0], "rb");
    while (in != NULL && t->count < ROWS_MAX && fread(&row, sizeof row, 1, in) == 1) t->rows[t->count++] = row;
    if (in != NULL) fclose(in);
    if (waitpid(child, &status, 0) != child || status != 0) {
        fprintf(stderr, "bench: %s could not be measured\n", b->group);
        t->failed++;
    }
}

static void number(char *out, size_t size, double x) {
    snprintf(out, size, x >= 1000 ? "%.0f" : x >= 100 ? "%.0f" : x >= 10 ? "%.1f" : "%.2f", x);
}

static void print_table(const struct table *t) {
    printf("%-46s %9s %-5s %-17s %-9s %-8s %s\n", "measured", "median", "", "min-max", "bar", "", "unit costs, notes");
    const char *group = "";
    for (size_t i = 0; i < t->count; i++) {
        const struct bench_row *r = &t->rows[i];
        char median[32], low[32], high[32], range[80], bar[40] = "", limit[32];
        number(median, sizeof median, r->median);
        number(low, sizeof low, r->low);
        number(high, sizeof high, r->high);
        number(limit, sizeof limit, r->bar);
        snprintf(range, sizeof range, "%s-%s", low, high);
        if (r->direction != BENCH_NO_BAR) {
            snprintf(bar, sizeof bar, "%s %s", r->direction == BENCH_AT_MOST ? "<=" : ">=", limit);
        }
        if (strcmp(group, r->group) != 0) printf("\n");
        group = r->group;
        printf("%-46s %9s %-5s %-17s %-9s %-8s %s\n", r->name, median, r->unit, range, bar,
               r->direction == BENCH_NO_BAR ? ""
               : met(r)                     ? "met"
                                            : "NOT MET",
               r->detail);
    }
}

static int write_json(const struct table *t, const char *path) {
    json_t *rows = json_array();
    for (size_t i = 0; i < t->count; i++) {
        const struct bench_row *r = &t->rows[i];
        const char *name = r->name + strspn(r->name, " ");
        json_t *row = json_pack("{ss ss ss sf sf sf ss}", "group", r->group, "name", name, "unit", r->unit, "median",
                                r->median, "min", r->low, "max", r->high, "detail", r->detail);
        if (r->direction != BENCH_NO_BAR) {
            json_object_set_new(row, "bar", json_real(r->bar));
            json_object_set_new(row, "direction", json_string(r->direction == BENCH_AT_MOST ? "at most" : "at least"));
            json_object_set_new(row, "met", json_boolean(met(r)));
        }
        json_array_append_new(rows, row);
    }
    json_t *all = json_pack("{so si}", "rows", rows, "groups_failed", (int)t->failed);
    int rc = json_dump_file(all, path, JSON_INDENT(1) | JSON_REAL_PRECISION(6));
    json_decref(all);
    if (rc != 0) fprintf(stderr, "bench: cannot write %s\n", path);
    return rc;
}

static bool chosen(const char *group, char **names, int count) {
    if (count == 0) return true;
    for (int i = 0; i < count; i++) {
        if (strcmp(names[i], group) == 0) return true;
    }
    return false;
}

int main(int argc, char **argv) {
    static struct table table;
    struct bench b = {.binaries = "build/release", .source = "."};
    const char *json = NULL;
    int at = 1;
    for (; at < argc && strncmp(argv[at], "--", 2) == 0; at++) {
        const char *option = argv[at];
        if (strcmp(option, "--quick") == 0) {
            b.quick = true;
            continue;
        }
        if (at + 1 >= argc) break;
        const char *value = argv[++at];
        if (strcmp(option, "--json") == 0) {
            json = value;
        } else if (strcmp(option, "--binaries") == 0) {
            b.binaries = value;
        } else if (strcmp(option, "--source") == 0) {
            b.source = value;
        } else {
            fprintf(stderr, "bench: unknown option %s\n", option);
            return 2;
        }
    }
    for (size_t i = 0; i < GROUPS; i++) {
        if (!chosen(groups[i].name, argv + at, argc - at)) continue;
        uint64_t start = bench_wall_ns();
        b.group = groups[i].name;
        fprintf(stderr, "bench: %s ...", b.group);
        fflush(stderr);
        run_group(&table, &b, groups[i].run);
        fprintf(stderr, " %.0f s\n", (double)(bench_wall_ns() - start) / 1e9);
    }
    print_table(&table);
    if (json != NULL && write_json(&table, json) != 0) return 1;
    return table.failed == 0 ? 0 : 1;
}

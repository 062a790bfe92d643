/* Rows, clocks and series of the benchmark. */
#include <stdlib.h>
#include <unistd.h>

#include "bench.h"

void bench_add(struct bench_series *s, double value) {
    if (s->count < BENCH_REPETITIONS_MAX) s->values[s->count++] = value;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_quantile(double *values, size_t count, double q) {
    if (count == 0) return 0;
    qsort(values, count, sizeof *values, compare);
    double place = q * (double)(count - 1);
    size_t below = (size_t)place;
    if (below + 1 >= count) return values[count - 1];
    return values[below] + (place - (double)below) * (values[below + 1] - values[below]);
}

double bench_median(const struct bench_series *s) {
    struct bench_series sorted = *s;
    return bench_quantile(sorted.values, sorted.count, 0.5);
}

void bench_row(struct bench *b, const char *name, const char *unit, const struct bench_series *s,
               enum bench_bar direction, double bar, const char *detail, ...) {
    struct bench_series sorted = *s;
    struct bench_row row = {
        .median = bench_median(s),
        .low = bench_quantile(sorted.values, sorted.count, 0),
        .high = bench_quantile(sorted.values, sorted.count, 1),
        .direction = direction,
        .bar = bar,
    };
    snprintf(row.group, sizeof row.group, "%s", b->group);
    snprintf(row.name, sizeof row.name, "%s", name);
    snprintf(row.unit, sizeof row.unit, "%s", unit);
    va_list args;
    va_start(args, detail);
    vsnprintf(row.detail, sizeof row.detail, detail, args);
    va_end(args);
    fwrite(&row, sizeof row, 1, b->out);
    fflush(b->out);
}

static uint64_t clock_ns(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

uint64_t bench_thread_ns(void) {
    return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

uint64_t bench_process_ns(void) {
    return clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

uint64_t bench_wall_ns(void) {
    return clock_ns(CLOCK_MONOTONIC);
}

void bench_fail(struct bench *b, const char *what, ...) {
    va_list args;
    fprintf(stderr, "bench: %s: ", b->group);
    va_start(args, what);
    vfprintf(stderr, what, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

void bench_must(struct bench *b, err_t err, const char *what) {
    if (err != OK) bench_fail(b, "%s: %s", what, err_text(err));
}

void bench_read_file(struct bench *b, struct buf *out, const char *path) {
    uint8_t block[65536];
    FILE *file = fopen(path, "rb");
    if (file == NULL) bench_fail(b, "cannot open %s", path);
    buf_init(out, 64u << 20);
    for (size_t n; (n = fread(block, 1, sizeof block, file)) > 0;) buf_put(out, block, n);
    fclose(file);
    bench_must(b, buf_err(out), path);
}

const char *bench_ed25519_backend(void) {
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512ifma") && __builtin_cpu_supports("avx512vl")) return "AVX-512 IFMA";
    return __builtin_cpu_supports("avx2") ? "AVX2" : "64-bit";
}

uint64_t bench_proc_kb(long pid, const char *field) {
    char path[64], line[256];
    unsigned long long kb = 0;
    size_t size = strlen(field);
    snprintf(path, sizeof path, "/proc/%ld/status", pid);
    FILE *file = fopen(path, "r");
    if (file == NULL) return 0;
    while (fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, field, size) == 0 && line[size] == ':') kb = strtoull(line + size + 1, NULL, 10);
    }
    fclose(file);
    return kb;
}

double bench_pid_cpu_s(long pid) {
    char path[64], text[1024];
    unsigned long user = 0, sys = 0;
    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    FILE *file = fopen(path, "r");
    if (file == NULL) return 0;
    size_t size = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[size] = 0;
    const char *after = strrchr(text, ')'); /* the name may hold anything */
    if (after == NULL || sscanf(after + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &sys) != 2) {
        return 0;
    }
    return (double)(user + sys) / (double)sysconf(_SC_CLK_TCK);
}

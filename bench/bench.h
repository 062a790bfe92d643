/* The benchmark: rows, clocks, repetitions. Each group runs in a process of its own and reports rows through a pipe; the
 * parent prints one table and writes the JSON (main.c). A row is a ratio of two things measured in the same run, turn and
 * turn about, or a figure of its own; docs/BENCH.md says how to read each. */
#ifndef NACRE_BENCH_BENCH_H
#define NACRE_BENCH_BENCH_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include "base/bytes.h"

enum bench_bar { BENCH_NO_BAR, BENCH_AT_MOST, BENCH_AT_LEAST };

struct bench_row {
    char group[24];
    char name[64];
    char unit[12]; /* "x": a ratio */
    double median, low, high;
    enum bench_bar direction;
    double bar;
    char detail[320]; /* unit costs, backend, what bounds it */
};

#define BENCH_REPETITIONS_MAX 64
/* Results of repetitions of one measurement. */
struct bench_series {
    size_t count;
    double values[BENCH_REPETITIONS_MAX];
};
void bench_add(struct bench_series *s, double value);
double bench_median(const struct bench_series *s);             /* 0 of an empty series */
double bench_quantile(double *values, size_t count, double q); /* sorts values */

/* Where a group's process writes its rows. */
struct bench {
    FILE *out;
    const char *group;
    const char *binaries; /* build directory of the binaries measured, e.g. build/release */
    const char *source;   /* the tree */
    bool quick;           /* fewer repetitions, smaller sizes: for trying the benchmark itself */
};

/* A row from a series. direction BENCH_NO_BAR: a figure to know, with no bar of its own. */
void bench_row(struct bench *b, const char *name, const char *unit, const struct bench_series *s,
               enum bench_bar direction, double bar, const char *detail, ...) __attribute__((format(printf, 7, 8)));

uint64_t bench_thread_ns(void);  /* processor time of this thread */
uint64_t bench_process_ns(void); /* of this process */
uint64_t bench_wall_ns(void);

/* Ends the group: the row that could not be measured is printed with the reason. */
_Noreturn void bench_fail(struct bench *b, const char *what, ...) __attribute__((format(printf, 2, 3)));
/* Fails unless err is OK. */
void bench_must(struct bench *b, err_t err, const char *what);
/* A whole file; free with buf_fini. */
void bench_read_file(struct bench *b, struct buf *out, const char *path);
/* kB of a line of /proc/PID/status ("VmRSS"), or 0. */
uint64_t bench_proc_kb(long pid, const char *field);
/* Which arithmetic the Ed25519 library picked on this machine, by its own run-time rule. */
const char *bench_ed25519_backend(void);
/* Processor time of another process, user and system, all threads. */
double bench_pid_cpu_s(long pid);

typedef void (*bench_group_fn)(struct bench *b);
void bench_kernels(struct bench *b);
void bench_programs(struct bench *b);
void bench_map(struct bench *b);
void bench_commands(struct bench *b);
void bench_workers(struct bench *b);
void bench_state(struct bench *b);
void bench_queries(struct bench *b);
void bench_devnet(struct bench *b);

#endif

/* Runs a program's script in the engine: run_script SCRIPT NAME=FILE.wasm [OTHER=FILE.wasm ...]. The tests of the
 * first-party programs are run with it. */
#include <stdio.h>
#include <stdlib.h>

#include "program/script.h"

#define PROGRAMS_MAX 8

static err_t read_file(struct buf *out, const char *path) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) return E_IO;
    uint8_t block[4096];
    size_t n;
    do {
        n = fread(block, 1, sizeof block, file);
        buf_put(out, block, n);
    } while (n == sizeof block);
    err_t err = ferror(file) ? E_IO : buf_err(out);
    fclose(file);
    return err;
}

static err_t load_program(struct program_script_program *out, struct program_engine *e, char *argument,
                          struct fault *f) {
    struct buf wasm;
    char *path = strchr(argument, '=');
    if (path == NULL) return fault_set(f, E_USAGE, "%s is not NAME=FILE", argument);
    *path++ = 0;
    buf_init(&wasm, LIMIT_CODE);
    err_t err = read_file(&wasm, path);
    if (err != OK) fault_set(f, err, "%s", path);
    if (err == OK) err = program_compile(&out->module, e, buf_bytes(&wasm), f);
    buf_fini(&wasm);
    out->name = argument;
    return err;
}

static err_t run(struct program_engine *e, int argc, char **argv, struct program_script_program *programs,
                 struct program_script_report *report, struct fault *f) {
    struct buf script;
    for (int i = 2; i < argc; i++) TRY(load_program(&programs[i - 2], e, argv[i], f));
    buf_init(&script, 1u << 20);
    err_t err = read_file(&script, argv[1]);
    if (err != OK) fault_set(f, err, "%s", argv[1]);
    if (err == OK) err = program_script_run(report, e, programs, (size_t)argc - 2, buf_bytes(&script));
    buf_fini(&script);
    return err;
}

int main(int argc, char **argv) {
    struct program_engine *e;
    struct program_script_program programs[PROGRAMS_MAX] = {{0}};
    struct program_script_report report = {0};
    struct fault f = {0};
    if (argc < 3 || argc > 2 + PROGRAMS_MAX) {
        fprintf(stderr, "usage: run_script SCRIPT NAME=FILE.wasm [OTHER=FILE.wasm ...]\n");
        return 2;
    }
    if (crypto_init() != OK || program_engine_new(&e, &(struct program_config){0}) != OK) {
        fprintf(stderr, "run_script: the engine does not start\n");
        return 1;
    }
    err_t err = run(e, argc, argv, programs, &report, &f);
    for (size_t i = 0; i < PROGRAMS_MAX; i++) program_module_free(programs[i].module);
    program_engine_free(e);
    if (err != OK) {
        fprintf(stderr, "run_script: %s: %s\n", err_text(err), f.detail);
        return 1;
    }
    if (!report.passed) {
        fprintf(stderr, "%s:%zu: %s\n", argv[1], report.line, report.message);
        return 1;
    }
    printf("%s: %zu steps passed, at most %llu gas\n", argv[1], report.steps, (unsigned long long)report.most_gas);
    return 0;
}

/* For tests that run programs under cmocka. Wasmtime turns signals into traps with handlers it installs once per process;
 * cmocka puts its own in front of them around every test. Keep Wasmtime's in main, put them back in the test:
 *
 *     int main(void) { signals_keep(); ... }      static void test_x(void **state) { signals_restore(); ... }
 */
#ifndef NACRE_PROGRAM_TESTING_SIGNALS_H
#define NACRE_PROGRAM_TESTING_SIGNALS_H

#include <signal.h>
#include <stdlib.h>

#include "program/program.h"

static const int trap_signals[] = {SIGSEGV, SIGILL, SIGFPE, SIGBUS};
static struct sigaction trap_handlers[sizeof trap_signals / sizeof *trap_signals];

static inline void signals_keep(void) {
    struct program_engine *e;
    if (program_engine_new(&e, &(struct program_config){.concurrent_calls = 1}) != OK) abort();
    for (size_t i = 0; i < sizeof trap_signals / sizeof *trap_signals; i++) {
        if (sigaction(trap_signals[i], NULL, &trap_handlers[i]) != 0) abort();
    }
    program_engine_free(e);
}

static inline void signals_restore(void) {
    for (size_t i = 0; i < sizeof trap_signals / sizeof *trap_signals; i++) {
        if (sigaction(trap_signals[i], &trap_handlers[i], NULL) != 0) abort();
    }
}

#endif

/* A damaged page of an LMDB file can lead its code outside the map: a crash where there should be a message. Checking every
 * page at every start would cost minutes on a large chain, so the crash itself is explained. */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <ucontext.h>
#include <unistd.h>

#include "store/store.h"

#define MAPS_MAX (256u << 10)

static char maps[MAPS_MAX]; /* a signal handler cannot allocate, and its stack may be small */

/* Whether the mapping that holds the address is the database file or LMDB's code. Only calls that handlers may make. */
static bool is_of_database(uintptr_t address) {
    size_t size = 0;
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    for (ssize_t n; size < sizeof maps - 1 && (n = read(fd, maps + size, sizeof maps - 1 - size)) > 0;)
        size += (size_t)n;
    (void)close(fd);
    maps[size] = 0;
    for (char *line = maps; *line;) {
        char *end = strchr(line, '\n'), *rest = NULL;
        if (!end) break;
        *end = 0;
        uintptr_t from = strtoul(line, &rest, 16), to = strtoul(rest + 1, NULL, 16);
        if (address >= from && address < to) return strstr(line, "/data.mdb") || strstr(line, "/liblmdb");
        line = end + 1;
    }
    return false;
}

static void on_crash(int number, siginfo_t *info, void *context) {
    uintptr_t code = 0;
#ifdef __x86_64__
    const ucontext_t *at = context;
    code = (uintptr_t)at->uc_mcontext.gregs[REG_RIP];
#else
    (void)context;
#endif
    if (is_of_database((uintptr_t)info->si_addr) || (code && is_of_database(code))) {
        static const char text[] =
            "stored data is damaged: the database led outside itself (restore the data directory "
            "from a copy, or start afresh)\n";
        ssize_t ignored = write(STDERR_FILENO, text, sizeof text - 1);
        (void)ignored;
        _exit(1);
    }
    (void)signal(number, SIG_DFL); /* returning repeats it: a bug is a crash with its core */
}

void store_explain_crashes(void) {
    struct sigaction action = {.sa_sigaction = on_crash, .sa_flags = SA_SIGINFO};
    (void)sigaction(SIGSEGV, &action, NULL);
    (void)sigaction(SIGBUS, &action, NULL);
}

/* Programs under test as child processes: started with their output in a file, asked, killed. */
#ifndef NACRE_TESTS_PROCESS_H
#define NACRE_TESTS_PROCESS_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

struct process {
    pid_t pid; /* 0: not running */
    char log[256];
};

/* Starts BIN/name with arguments (NULL-terminated, without the name); output goes to log, anew. */
static inline void process_start(struct process *p, const char *name, const char *log, const char *const *arguments) {
    const char *bin = getenv("NACRE_BIN");
    char path[1024];
    char *argv[64] = {path};
    size_t count = 1;
    (void)snprintf(path, sizeof path, "%s/%s", bin != NULL ? bin : "build/release/bin", name);
    for (; arguments[count - 1] != NULL && count < 63; count++) {
        argv[count] = strdup(arguments[count - 1]);
    }
    (void)snprintf(p->log, sizeof p->log, "%s", log);
    (void)unlink(log); /* what an earlier one said is not this one's */
    p->pid = fork();
    if (p->pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that is killed leaves nothing running */
        int fd = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0) _exit(126);
        (void)execv(path, argv);
        _exit(127);
    }
    for (size_t i = 1; i < count; i++) free(argv[i]);
}

/* The exit status, or 128 + the signal that ended it; -1 if it did not end in time (then it is killed). */
static inline int process_wait(struct process *p, unsigned timeout_ms) {
    int status = 0;
    for (unsigned waited = 0; p->pid > 0; waited += 10) {
        pid_t ended = waitpid(p->pid, &status, WNOHANG);
        if (ended == p->pid) break;
        if (ended < 0) return -1;
        if (waited >= timeout_ms) {
            (void)kill(p->pid, SIGKILL);
            (void)waitpid(p->pid, &status, 0);
            p->pid = 0;
            return -1;
        }
        (void)usleep(10000);
    }
    p->pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static inline int process_stop(struct process *p, int number, unsigned timeout_ms) {
    if (p->pid <= 0) return -1;
    (void)kill(p->pid, number);
    return process_wait(p, timeout_ms);
}

static inline bool process_read_file(char *out, size_t room, const char *path) {
    int fd = open(path, O_RDONLY);
    if (fd < 0) return false;
    ssize_t n = read(fd, out, room - 1);
    (void)close(fd);
    out[n > 0 ? n : 0] = 0;
    return n > 0;
}

/* Whether its output holds text. */
static inline bool process_said(const struct process *p, const char *text) {
    static char output[1 << 16];
    return process_read_file(output, sizeof output, p->log) && strstr(output, text) != NULL;
}

/* Waits for DIR/endpoint, which a program writes once it listens. False if it ended before. */
static inline bool process_endpoint(struct process *p, char *out, size_t room, const char *dir, unsigned timeout_ms) {
    char path[1024];
    (void)snprintf(path, sizeof path, "%s/endpoint", dir);
    for (unsigned waited = 0; waited < timeout_ms; waited += 10) {
        if (process_said(p, "listening on") && process_read_file(out, room, path)) return true;
        int status = 0;
        if (waitpid(p->pid, &status, WNOHANG) == p->pid) {
            p->pid = 0;
            return false;
        }
        (void)usleep(10000);
    }
    return false;
}

#endif

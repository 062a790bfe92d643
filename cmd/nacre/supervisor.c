#include "supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "network_make.h"
#include "store/store.h"

#define START_TIMEOUT_MS 30000
#define STOP_TIMEOUT_MS 10000
#define BACKOFF_FIRST_MS 250
#define BACKOFF_MOST_MS 10000
#define STEADY_MS 30000 /* after so long a run the next crash is a first one again */
#define ARGS_MOST 20

void supervisor_init(struct supervisor *s, const struct cli *c, const char *dir, size_t workers) {
    *s = (struct supervisor){.cli = c, .restart = true};
    (void)snprintf(s->net.dir, sizeof s->net.dir, "%s", dir);
    s->net.process_count = workers + 2;
    for (size_t i = 0; i < s->net.process_count; i++) {
        struct devnet_process *p = &s->net.processes[i];
        if (i < 2) {
            (void)snprintf(p->name, sizeof p->name, "%s", i == 0 ? "node" : "keyd");
        } else {
            (void)snprintf(p->name, sizeof p->name, "w%zu", i - 1);
        }
        s->children[i].backoff_ms = BACKOFF_FIRST_MS;
    }
}

/* --- starting ------------------------------------------------------------------------------------------------------------- */

/* The words of a command line, in one buffer. */
struct words {
    char text[6 * CLI_PATH_MAX];
    size_t size, count;
    char *argv[ARGS_MOST + 1];
};

static void PRINTF_LIKE(2, 3) put(struct words *w, const char *fmt, ...) {
    va_list args;
    size_t room = sizeof w->text - w->size;
    va_start(args, fmt);
    int n = vsnprintf(w->text + w->size, room, fmt, args);
    va_end(args);
    if (n < 0 || (size_t)n >= room || w->count == ARGS_MOST) abort(); /* paths are bounded: our own mistake */
    w->argv[w->count++] = w->text + w->size;
    w->argv[w->count] = NULL;
    w->size += (size_t)n + 1;
}

static void put_arguments(struct words *w, const struct supervisor *s, size_t i, const char *program) {
    const char *dir = s->net.dir, *name = s->net.processes[i].name, *node = s->net.processes[0].endpoint;
    put(w, "%s", program);
    put(w, "--dir");
    put(w, "%s/%s", dir, name);
    put(w, "--genesis");
    put(w, "%s/genesis.json", dir);
    put(w, "--listen");
    put(w, "127.0.0.1:%u", i == 0 ? s->port : 0u);
    if (i == 0) {
        put(w, "--key");
        put(w, "%s/keys/validator.key", dir);
        return;
    }
    put(w, "--node");
    put(w, "%s", node);
    put(w, "--operator-key");
    put(w, "%s/keys/operator.key", dir);
    put(w, "--tee-sim");
    put(w, "%s/tee/%s.sim", dir, name);
    if (i < 2) return;
    put(w, "--label");
    put(w, "%s", name);
}

/* In the child: no way back. */
static _Noreturn void become(const struct words *w, int log, pid_t parent) {
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM); /* whatever ends the supervisor ends its processes */
    if (getppid() != parent) _exit(126);
    int null = open("/dev/null", O_RDONLY);
    if (null >= 0) (void)dup2(null, STDIN_FILENO);
    (void)dup2(log, STDOUT_FILENO);
    (void)dup2(log, STDERR_FILENO);
    (void)setpgid(0, 0); /* Ctrl-C is for the supervisor */
    (void)signal(SIGPIPE, SIG_DFL);
    execv(w->argv[0], w->argv);
    dprintf(STDERR_FILENO, "%s: %s\n", w->argv[0], strerror(errno));
    _exit(127);
}

static err_t launch(struct supervisor *s, size_t i, struct fault *f) {
    static const char *const programs[] = {"nacre-node", "nacre-keyd", "nacre-worker"};
    static struct words w;
    char program[CLI_PATH_MAX], path[CLI_PATH_MAX];
    struct devnet_process *p = &s->net.processes[i];
    w = (struct words){0};
    TRY(network_program(program, programs[i < 2 ? i : 2], f));
    put_arguments(&w, s, i, program);
    TRY(path_make(path, f, "%s/%s", s->net.dir, p->name));
    TRY(dir_create(path, f));
    TRY(path_make(path, f, "%s/%s/endpoint", s->net.dir, p->name));
    TRY(file_remove(path, f));
    TRY(path_make(path, f, "%s/logs/%s.log", s->net.dir, p->name));
    int log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log < 0) return fault_set(f, E_IO, "%s: %s", path, strerror(errno));
    pid_t self = getpid(), pid = fork();
    if (pid == 0) become(&w, log, self);
    close(log);
    if (pid < 0) return fault_set(f, E_IO, "fork: %s", strerror(errno));
    p->pid = pid;
    p->endpoint[i == 0 ? sizeof p->endpoint - 1 : 0] = 0; /* the node keeps its address */
    s->children[i].state = CHILD_RUNNING;
    s->children[i].started_ms = now_ms();
    return OK;
}

/* Reads the endpoint that a process wrote, if it has. */
static bool read_endpoint(struct supervisor *s, size_t i) {
    char path[CLI_PATH_MAX];
    struct buf file;
    struct devnet_process *p = &s->net.processes[i];
    if (path_make(path, NULL, "%s/%s/endpoint", s->net.dir, p->name) != OK) return false;
    buf_init(&file, sizeof p->endpoint - 1);
    bool there = file_read(&file, path, file.max, NULL) == OK && file.size > 0;
    if (there) {
        while (file.size > 0 && file.data[file.size - 1] <= ' ') file.size--;
        memcpy(p->endpoint, file.data, file.size);
        p->endpoint[file.size] = 0;
    }
    buf_fini(&file);
    return there;
}

void supervisor_log_tail(char *out, size_t out_size, const struct supervisor *s, const char *name) {
    char path[CLI_PATH_MAX], line[512];
    out[0] = 0;
    if (path_make(path, NULL, "%s/logs/%s.log", s->net.dir, name) != OK) return;
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file)) {
        char *end = strchr(line, '\n');
        if (end) *end = 0;
        if (line[0]) (void)snprintf(out, out_size, "%s", line); /* the last one says why */
    }
    if (file) fclose(file);
}

static err_t ended_early(struct supervisor *s, size_t i, int status, struct fault *f) {
    char tail[200];
    supervisor_log_tail(tail, sizeof tail, s, s->net.processes[i].name);
    (void)fault_set(f, E_INTERNAL, "%s ended with status %d: %s", s->net.processes[i].name,
                    WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), tail);
    f->remedy = "see its log in the devnet's folder under logs/";
    return E_INTERNAL;
}

err_t supervisor_start(struct supervisor *s, size_t i, struct fault *f) {
    struct devnet_process *p = &s->net.processes[i];
    TRY(launch(s, i, f));
    for (uint64_t begun = now_ms(); now_ms() - begun < START_TIMEOUT_MS; pause_ms(10)) {
        int status;
        if (waitpid(p->pid, &status, WNOHANG) == p->pid) {
            p->pid = 0;
            s->children[i].state = CHILD_STOPPED;
            return ended_early(s, i, status, f);
        }
        if (!read_endpoint(s, i)) continue;
        const char *colon = strrchr(p->endpoint, ':');
        if (i == 0 && colon)
            s->port = (uint16_t)strtoul(colon + 1, NULL, 10); /* it comes back where the others look for it */
        return OK;
    }
    return fault_set(f, E_TIMEOUT, "%s did not open its port in %d s", p->name, START_TIMEOUT_MS / 1000);
}

/* --- tending -------------------------------------------------------------------------------------------------------------- */

static void note_end(struct supervisor *s, size_t i, int status) {
    struct child *child = &s->children[i];
    struct devnet_process *p = &s->net.processes[i];
    uint64_t now = now_ms();
    p->pid = 0;
    child->exit_status = status;
    if (now - child->started_ms > STEADY_MS) child->backoff_ms = BACKOFF_FIRST_MS;
    child->state = s->restart ? CHILD_WAITING : CHILD_STOPPED;
    child->again_at_ms = now + child->backoff_ms;
    if (WIFSIGNALED(status)) {
        out_note(s->cli, "%s was ended by signal %d%s", p->name, WTERMSIG(status),
                 s->restart ? ", it starts again" : "");
    } else {
        out_note(s->cli, "%s ended with status %d%s", p->name, WEXITSTATUS(status),
                 s->restart ? ", it starts again" : "");
    }
    child->backoff_ms = child->backoff_ms * 2 < BACKOFF_MOST_MS ? child->backoff_ms * 2 : BACKOFF_MOST_MS;
}

bool supervisor_tend(struct supervisor *s) {
    bool changed = false;
    struct fault f = {0};
    for (size_t i = 0; i < s->net.process_count; i++) {
        struct child *child = &s->children[i];
        struct devnet_process *p = &s->net.processes[i];
        int status;
        if (child->state == CHILD_RUNNING && waitpid(p->pid, &status, WNOHANG) == p->pid) {
            note_end(s, i, status);
            changed = true;
        }
        if (child->state == CHILD_WAITING && now_ms() >= child->again_at_ms) {
            changed = true;
            if (launch(s, i, &f) != OK) {
                out_note(s->cli, "%s could not be started: %s", p->name, f.detail);
                child->again_at_ms = now_ms() + child->backoff_ms;
            } else {
                p->restarts++;
            }
        }
        if (child->state == CHILD_RUNNING && p->endpoint[0] == 0 && read_endpoint(s, i)) changed = true;
    }
    if (changed && devnet_write(&s->net, &f) != OK) out_note(s->cli, "devnet.json: %s", f.detail);
    return changed;
}

const struct devnet_process *supervisor_dead(const struct supervisor *s) {
    for (size_t i = 0; i < s->net.process_count; i++) {
        if (s->children[i].state == CHILD_STOPPED) return &s->net.processes[i];
    }
    return NULL;
}

static void end_range(struct supervisor *s, size_t from, size_t to) {
    for (size_t i = from; i < to; i++) {
        if (s->children[i].state == CHILD_RUNNING) (void)kill(s->net.processes[i].pid, SIGTERM);
    }
    uint64_t begun = now_ms();
    for (size_t i = from; i < to; i++) {
        struct devnet_process *p = &s->net.processes[i];
        while (s->children[i].state == CHILD_RUNNING) {
            if (waitpid(p->pid, NULL, WNOHANG) != 0) {
                s->children[i].state = CHILD_STOPPED;
                p->pid = 0;
            } else {
                if (now_ms() - begun > STOP_TIMEOUT_MS) (void)kill(p->pid, SIGKILL);
                pause_ms(10);
            }
        }
        s->children[i].state = CHILD_STOPPED;
    }
}

void supervisor_stop(struct supervisor *s) {
    struct fault f = {0};
    end_range(s, 2, s->net.process_count);
    end_range(s, 1, 2);
    end_range(s, 0, 1);
    s->net.ready = false;
    if (devnet_write(&s->net, &f) != OK) out_note(s->cli, "devnet.json: %s", f.detail);
}

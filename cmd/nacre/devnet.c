#include "devnet.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "store/store.h"

#define DEVNET_FILE_MAX (64u << 10)

err_t devnet_dir(char out[CLI_PATH_MAX], const struct cli *c, const char *dir, struct fault *f) {
    if (dir) return path_make(out, f, "%s", dir);
    return path_make(out, f, "%s/devnet", c->home);
}

/* --- the lock: held by the open file of the supervisor, so it ends with the process; its pid stands in the file --------- */

pid_t devnet_supervisor(const char *dir) {
    char path[CLI_PATH_MAX], text[24] = "";
    if (path_make(path, NULL, "%s/lock", dir) != OK) return 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    bool held = flock(fd, LOCK_SH | LOCK_NB) != 0;
    long pid = 0;
    if (held && read(fd, text, sizeof text - 1) > 0) pid = strtol(text, NULL, 10);
    close(fd);
    return held && pid > 0 ? (pid_t)pid : 0;
}

int devnet_lock(const char *dir) {
    char path[CLI_PATH_MAX];
    if (path_make(path, NULL, "%s/lock", dir) != OK) return -1;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    for (int i = 0; fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0;
         i++) { /* who looks whether it is held, holds it briefly */
        if (i < 20) {
            pause_ms(10);
            continue;
        }
        close(fd);
        return -1;
    }
    if (fd >= 0 && (ftruncate(fd, 0) != 0 || dprintf(fd, "%d\n", (int)getpid()) < 0)) {
        close(fd);
        return -1;
    }
    return fd;
}

/* --- devnet.json ---------------------------------------------------------------------------------------------------------- */

json_t *devnet_json(const struct devnet *d) {
    json_t *processes = json_array();
    for (size_t i = 0; i < d->process_count; i++) {
        const struct devnet_process *p = &d->processes[i];
        (void)json_array_append_new(processes, json_pack("{s:s,s:i,s:s,s:i}", "name", p->name, "pid", (int)p->pid,
                                                         "endpoint", p->endpoint, "restarts", (int)p->restarts));
    }
    const struct devnet_process *node = devnet_find(d, "node");
    return json_pack("{s:s,s:b,s:s,s:I,s:s,s:o}", "dir", d->dir, "ready", d->ready, "node", node ? node->endpoint : "",
                     "cluster", (json_int_t)d->cluster, "tee", "sim", "processes", processes);
}

err_t devnet_write(const struct devnet *d, struct fault *f) {
    char path[CLI_PATH_MAX];
    TRY(path_make(path, f, "%s/devnet.json", d->dir));
    json_t *document = devnet_json(d);
    char *text = document ? json_dumps(document, JSON_INDENT(2)) : NULL;
    err_t err = text ? file_write(path, bytes_str(text), 0644, f) : E_NO_MEMORY;
    free(text);
    json_decref(document);
    return err;
}

static void read_process(struct devnet_process *out, const json_t *item) {
    const char *name = json_string_value(json_object_get(item, "name"));
    const char *endpoint = json_string_value(json_object_get(item, "endpoint"));
    (void)snprintf(out->name, sizeof out->name, "%s", name ? name : "");
    (void)snprintf(out->endpoint, sizeof out->endpoint, "%s", endpoint ? endpoint : "");
    out->pid = (pid_t)json_integer_value(json_object_get(item, "pid"));
    out->restarts = (uint32_t)json_integer_value(json_object_get(item, "restarts"));
}

static err_t parse(struct devnet *out, struct bytes file, const char *path, struct fault *f) {
    json_t *document = json_loadb((const char *)file.data, file.size, 0, NULL);
    const json_t *processes = json_object_get(document, "processes");
    if (!json_is_array(processes)) {
        json_decref(document);
        return fault_set(f, E_CORRUPT, "%s is damaged", path);
    }
    out->ready = json_is_true(json_object_get(document, "ready"));
    out->cluster = (uint64_t)json_integer_value(json_object_get(document, "cluster"));
    size_t most = sizeof out->processes / sizeof *out->processes;
    for (size_t i = 0; i < json_array_size(processes) && i < most; i++) {
        read_process(&out->processes[i], json_array_get(processes, i));
        out->process_count = i + 1;
    }
    json_decref(document);
    return OK;
}

err_t devnet_read(struct devnet *out, const char *dir, struct fault *f) {
    char path[CLI_PATH_MAX];
    struct buf file;
    struct devnet read = {0};
    TRY(path_make(read.dir, f, "%s", dir));
    TRY(path_make(path, f, "%s/devnet.json", dir));
    buf_init(&file, DEVNET_FILE_MAX);
    err_t err = file_read(&file, path, DEVNET_FILE_MAX, f);
    if (err == OK) err = parse(&read, buf_bytes(&file), path, f);
    buf_fini(&file);
    if (err != OK) return err;
    read.supervisor = devnet_supervisor(dir);
    if (!read.supervisor) {
        for (size_t i = 0; i < read.process_count; i++) read.processes[i].pid = 0;
        read.ready = false;
    }
    *out = read;
    return OK;
}

const struct devnet_process *devnet_find(const struct devnet *d, const char *name) {
    for (size_t i = 0; i < d->process_count; i++) {
        if (strcmp(d->processes[i].name, name) == 0) return &d->processes[i];
    }
    return NULL;
}

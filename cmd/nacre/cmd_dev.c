/* nacre new, build, test: writing a program, without any network. */
#include <dirent.h>
#include <errno.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "keys.h"
#include "program/script.h"
#include "project.h"
#include "store/store.h"

#define SOURCE "program.c"
#define MODULE "program.wasm"
#define SCRIPT "program_test.txt"
#define FILES_MAX 64
#define FILE_MAX (1u << 20)

extern char **environ;

/* --- folders ------------------------------------------------------------------------------------------------------------- */

err_t project_own_folder(char path[CLI_PATH_MAX], struct fault *f) {
    ssize_t size = readlink("/proc/self/exe", path, CLI_PATH_MAX - 1);
    if (size <= 0) return fault_set(f, E_IO, "/proc/self/exe: %s", strerror(errno));
    path[size] = 0;
    char *slash = strrchr(path, '/');
    if (slash) *slash = 0;
    return OK;
}

static bool is_sdk(const char *path) {
    char script[CLI_PATH_MAX + 16];
    (void)snprintf(script, sizeof script, "%s/build.sh", path);
    return access(script, R_OK) == 0;
}

err_t project_sdk(char path[CLI_PATH_MAX], struct fault *f) {
    static const char *const places[] = {"sdk/c", "share/nacre/sdk/c"};
    char folder[CLI_PATH_MAX];
    const char *given = getenv("NACRE_SDK");
    if (given && given[0]) {
        if (!is_sdk(given)) return fault_set(f, E_NOT_FOUND, "NACRE_SDK=%s has no build.sh", given);
        return path_make(path, f, "%s", given);
    }
    TRY(project_own_folder(folder, f));
    for (int up = 0; up < 6; up++) { /* from the build folder of a checkout, or from PREFIX/bin */
        for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
            TRY(path_make(path, f, "%s/%s", folder, places[i]));
            if (is_sdk(path)) return OK;
        }
        char *slash = strrchr(folder, '/');
        if (!slash) break;
        *slash = 0;
    }
    err_t err = fault_set(f, E_NOT_FOUND, "the SDK for programs in C is not near this program");
    f->remedy = "set NACRE_SDK to the folder sdk/c of a checkout";
    return err;
}

err_t project_module(char path[CLI_PATH_MAX], const char *dir, struct fault *f) {
    TRY(path_make(path, f, "%s/" MODULE, dir));
    if (access(path, R_OK) == 0) return OK;
    err_t err = fault_set(f, E_NOT_FOUND, "%s", path);
    f->remedy = "run 'nacre build' there first, or name the module";
    return err;
}

err_t project_name(char name[CLI_PATH_MAX], const char *dir, struct fault *f) {
    char full[CLI_PATH_MAX];
    if (!realpath(dir, full)) return fault_set(f, errno == ENOENT ? E_NOT_FOUND : E_IO, "%s: %s", dir, strerror(errno));
    const char *slash = strrchr(full, '/');
    return path_make(name, f, "%s", slash ? slash + 1 : full);
}

/* --- new ------------------------------------------------------------------------------------------------------------------ */

/* Names of the folders in a folder, blank-separated. */
static void list_folders(char *out, size_t out_size, const char *path) {
    size_t at = 0;
    out[0] = 0;
    DIR *dir = opendir(path);
    for (struct dirent *entry; dir && (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] == '.' || strlen(entry->d_name) + 2 > out_size - at) continue;
        at += (size_t)snprintf(out + at, out_size - at, "%s%s", at > 0 ? " " : "", entry->d_name);
    }
    if (dir) closedir(dir);
}

static err_t copy_file(const char *from, const char *to, struct fault *f) {
    struct buf file;
    buf_init(&file, FILE_MAX);
    err_t err = file_read(&file, from, FILE_MAX, f);
    if (err == OK) err = file_write(to, buf_bytes(&file), 0644, f);
    buf_fini(&file);
    return err;
}

static err_t copy_folder(const char *from, const char *to, struct fault *f) {
    DIR *dir = opendir(from);
    if (!dir) return fault_set(f, E_IO, "%s: %s", from, strerror(errno));
    err_t err = mkdir(to, 0755) == 0 ? OK : fault_set(f, E_IO, "%s: %s", to, strerror(errno));
    for (struct dirent *entry; err == OK && (entry = readdir(dir)) != NULL;) {
        char source[CLI_PATH_MAX], target[CLI_PATH_MAX];
        if (entry->d_name[0] == '.') continue;
        err = path_make(source, f, "%s/%s", from, entry->d_name);
        if (err == OK) err = path_make(target, f, "%s/%s", to, entry->d_name);
        if (err == OK) err = copy_file(source, target, f);
    }
    closedir(dir);
    return err;
}

static err_t make_project(const char *name, const char *template, struct fault *f) {
    char sdk[CLI_PATH_MAX], from[CLI_PATH_MAX], list[512];
    const char *slash = strrchr(name, '/');
    if (!key_name_is_valid(slash ? slash + 1 : name)) {
        return fault_set(f, E_USAGE, "\"%.60s\" is not a program's name: 1 to 32 of a-z, 0-9 and -", name);
    }
    if (access(name, F_OK) == 0) {
        err_t err = fault_set(f, E_DUPLICATE, "%s", name);
        f->remedy = "choose another name; nothing is overwritten";
        return err;
    }
    TRY(project_sdk(sdk, f));
    TRY(path_make(from, f, "%s/templates", sdk));
    list_folders(list, sizeof list, from);
    TRY(args_one_of(template, list, "template", f));
    TRY(path_make(from, f, "%s/templates/%s", sdk, template));
    return copy_folder(from, name, f);
}

static int run_new(const struct cli *c, const struct args *a) {
    struct fault f = {0};
    const char *name = a->words[0], *template = args_value(a, "template");
    err_t err = make_project(name, template ? template : "counter", &f);
    if (err != OK) return cli_fail_with(c, err, &f);
    out_text(c, "made %s", name);
    if (!c->json) out_note(c, "next: cd %s; nacre build; nacre test; nacre deploy", name);
    return cli_json(c, json_pack("{s:s,s:s}", "folder", name, "template", template ? template : "counter"));
}

static const struct option_spec new_options[] = {{"template", 't', "NAME", "what to start from (default counter)"}};
const struct verb cli_new = {
    .name = "new",
    .usage = "NAME",
    .summary = "make a folder with a program, its test and how to go on",
    VERB_OPTIONS(new_options),
    .words_least = 1,
    .words_most = 1,
    .run = run_new,
};

/* --- build ----------------------------------------------------------------------------------------------------------------- */

struct build {
    char dir[CLI_PATH_MAX], module[CLI_PATH_MAX], sdk[CLI_PATH_MAX];
    char *sources[FILES_MAX]; /* owned */
    size_t source_count;
    int64_t newest; /* time of the newest source, ns */
    uint64_t size;
    struct hash code_hash;
};

static void build_free(struct build *b) {
    for (size_t i = 0; i < b->source_count; i++) free(b->sources[i]);
}

static int64_t time_of(const char *path) {
    struct stat info;
    if (stat(path, &info) != 0) return -1;
    return (int64_t)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec;
}

static err_t add_source(struct build *b, const char *path, struct fault *f) {
    if (b->source_count == FILES_MAX) return fault_set(f, E_LIMIT, "more than %d source files", FILES_MAX);
    char *copy = strdup(path);
    if (!copy) return E_NO_MEMORY;
    b->sources[b->source_count++] = copy;
    int64_t time = time_of(path);
    if (time > b->newest) b->newest = time;
    return OK;
}

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), k = strlen(end);
    return n > k && strcmp(text + n - k, end) == 0;
}

static int compare_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static err_t find_sources(struct build *b, struct fault *f) {
    DIR *dir = opendir(b->dir);
    if (!dir) return fault_set(f, errno == ENOENT ? E_NOT_FOUND : E_IO, "%s: %s", b->dir, strerror(errno));
    err_t err = OK;
    for (struct dirent *entry; err == OK && (entry = readdir(dir)) != NULL;) {
        char path[CLI_PATH_MAX];
        if (entry->d_name[0] == '.') continue;
        if (ends_with(entry->d_name, ".h")) {
            err = path_make(path, f, "%s/%s", b->dir, entry->d_name);
            int64_t time = err == OK ? time_of(path) : 0;
            if (time > b->newest) b->newest = time;
        }
        if (!ends_with(entry->d_name, ".c")) continue;
        err = path_make(path, f, "%s/%s", b->dir, entry->d_name);
        if (err == OK) err = add_source(b, path, f);
    }
    closedir(dir);
    if (err == OK && b->source_count == 0) {
        err = fault_set(f, E_NOT_FOUND, "no .c file in %s", b->dir);
        f->remedy = "make a program with 'nacre new NAME' and go there";
    }
    qsort(b->sources, b->source_count, sizeof *b->sources, compare_text); /* the same module wherever it is built */
    return err;
}

/* Runs sdk/c/build.sh; what the compiler says goes to standard error. */
static err_t run_compiler(struct build *b, struct fault *f) {
    char script[CLI_PATH_MAX];
    char *argv[FILES_MAX + 8];
    size_t count = 0;
    TRY(path_make(script, f, "%s/build.sh", b->sdk));
    char shell[] = "sh", out[] = "-o";
    argv[count++] = shell;
    argv[count++] = script;
    for (size_t i = 0; i < b->source_count; i++) argv[count++] = b->sources[i];
    argv[count++] = out;
    argv[count++] = b->module;
    argv[count] = NULL;
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int status = 0;
    if (posix_spawn_file_actions_init(&actions) != 0) return E_NO_MEMORY;
    int rc = posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
    if (rc == 0) rc = posix_spawnp(&pid, "sh", &actions, NULL, argv, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    if (rc != 0) return fault_set(f, E_IO, "sh: %s", strerror(rc));
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return OK;
    err_t err = fault_set(f, E_BAD_WASM, "%s did not build", b->dir);
    f->remedy = "mend what the compiler named above; 'nacre doctor' says whether the tools are there";
    return err;
}

static err_t check_module(struct build *b, struct fault *f) {
    struct buf wasm;
    buf_init(&wasm, LIMIT_CODE);
    err_t err = file_read(&wasm, b->module, LIMIT_CODE, f);
    if (err == OK) err = program_check(buf_bytes(&wasm), f);
    if (err == OK) {
        sha256(&b->code_hash, buf_bytes(&wasm));
        b->size = wasm.size;
    }
    buf_fini(&wasm);
    return err;
}

static err_t build_project(struct build *b, const char *dir, bool always, struct fault *f) {
    TRY(path_make(b->dir, f, "%s", dir));
    TRY(path_make(b->module, f, "%s/" MODULE, dir));
    TRY(find_sources(b, f));
    if (always || time_of(b->module) < b->newest) {
        TRY(project_sdk(b->sdk, f));
        TRY(run_compiler(b, f));
    }
    return check_module(b, f);
}

static int run_build(const struct cli *c, const struct args *a) {
    struct fault f = {0};
    struct build b = {0};
    err_t err = build_project(&b, a->word_count > 0 ? a->words[0] : ".", true, &f);
    int code;
    if (err == OK) {
        char hash[2 * HASH_SIZE + 1], size[32];
        hex_encode(hash, BYTES(b.code_hash.bytes));
        out_text(c, "built %s", b.module);
        out_field(c, "code", "%s", hash);
        out_field(c, "size", "%s", out_size(size, b.size));
        code =
            cli_json(c, json_pack("{s:s,s:s,s:I}", "module", b.module, "code_hash", hash, "size", (json_int_t)b.size));
    } else {
        code = cli_fail_with(c, err, &f);
    }
    build_free(&b);
    return code;
}

const struct verb cli_build = {
    .name = "build",
    .usage = "[FOLDER]",
    .summary = "compile a program in C to " MODULE,
    .detail =
        "Compiles every .c file of the folder (default: this one) with the SDK. The same sources give the same bytes on\n"
        "any machine with the same compiler, so that anyone can check the code hash on the network.\n",
    .words_most = 1,
    .run = run_build,
};

/* --- test ------------------------------------------------------------------------------------------------------------------ */

static err_t run_script(struct program_script_report *report, const struct build *b, const char *script,
                        struct fault *f) {
    struct buf wasm, text;
    struct program_engine *engine = NULL;
    struct program_script_program program = {.name = "program"};
    struct program_config config = {.concurrent_calls = 16};
    struct program_module *module = NULL;
    buf_init(&wasm, LIMIT_CODE);
    buf_init(&text, FILE_MAX);
    err_t err = file_read(&text, script, FILE_MAX, f);
    if (err == OK) err = file_read(&wasm, b->module, LIMIT_CODE, f);
    if (err == OK) err = program_engine_new(&engine, &config);
    if (err == OK) err = program_compile(&module, engine, buf_bytes(&wasm), f);
    program.module = module;
    if (err == OK) err = program_script_run(report, engine, &program, 1, buf_bytes(&text));
    program_module_free(module);
    if (engine) program_engine_free(engine);
    buf_fini(&wasm);
    buf_fini(&text);
    return err;
}

static int run_test(const struct cli *c, const struct args *a) {
    static struct program_script_report report;
    struct fault f = {0};
    struct build b = {0};
    char script[CLI_PATH_MAX];
    const char *dir = a->word_count > 0 ? a->words[0] : ".", *given = args_value(a, "script");
    err_t err = build_project(&b, dir, false, &f);
    if (err == OK) err = given ? path_make(script, &f, "%s", given) : path_make(script, &f, "%s/" SCRIPT, dir);
    if (err == OK) err = run_script(&report, &b, script, &f);
    build_free(&b);
    if (err != OK) return cli_fail_with(c, err, &f);
    if (report.passed) {
        out_text(c, "passed: %zu steps of %s, at most %lu gas in one", report.steps, script,
                 (unsigned long)report.most_gas);
    } else {
        out_text(c, "FAILED: %s:%zu: %s", script, report.line, report.message);
    }
    int code = cli_json(c, json_pack("{s:b,s:I,s:I,s:I,s:s}", "passed", report.passed, "steps",
                                     (json_int_t)report.steps, "most_gas", (json_int_t)report.most_gas, "line",
                                     (json_int_t)report.line, "message", report.passed ? "" : report.message));
    return report.passed ? code : CLI_FAILED;
}

static const struct option_spec test_options[] = {
    {"script", 0, "FILE", "the script (default " SCRIPT " in the folder)"}};
const struct verb cli_test = {
    .name = "test",
    .usage = "[FOLDER]",
    .summary = "run a program's test script in the engine that workers run",
    .detail =
        "Builds the program if its sources are newer than the module. The script's steps are in docs/PROGRAMS.md.\n",
    VERB_OPTIONS(test_options),
    .words_most = 1,
    .run = run_test,
};

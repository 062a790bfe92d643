/* Runs a fuzz target over its corpus without libFuzzer: `TARGET DIRECTORY`. Each file is fed whole and cut short at every
 * eighth, so that a truncated input is always among those tried. Exit status 1 if the corpus is missing or empty: a test
 * that fed nothing has shown nothing. */
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

#define FILE_MAX (16u << 20)

/* Feeds a copy of exactly that size, so that the address sanitizer sees a read past the end. */
static void feed(const uint8_t *data, size_t size) {
    uint8_t *copy = malloc(size > 0 ? size : 1);
    if (copy == NULL) abort();
    if (size > 0) memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static bool replay(const char *directory, const char *name) {
    char path[4096];
    int written = snprintf(path, sizeof path, "%s/%s", directory, name);
    if (written < 0 || (size_t)written >= sizeof path) return false;
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        return false;
    }
    uint8_t *data = malloc(FILE_MAX);
    if (data == NULL) abort();
    size_t size = fread(data, 1, FILE_MAX, file);
    bool whole = feof(file) && !ferror(file);
    fclose(file);
    if (!whole) fprintf(stderr, "%s: unreadable or larger than %u bytes\n", path, FILE_MAX);
    printf("%s (%zu bytes)\n", name, size);
    fflush(stdout);
    for (size_t eighths = 0; eighths <= 8; eighths++) feed(data, size * eighths / 8);
    free(data);
    return whole;
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: %s CORPUS_DIRECTORY\n", argv[0]);
        return 2;
    }
    DIR *directory = opendir(argv[1]);
    if (directory == NULL) {
        perror(argv[1]);
        return 1;
    }
    size_t count = 0;
    bool ok = true;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        if (entry->d_name[0] == '.') continue;
        ok = replay(argv[1], entry->d_name) && ok;
        count++;
    }
    closedir(directory);
    if (count == 0) fprintf(stderr, "%s: the corpus is empty\n", argv[1]);
    printf("%zu files\n", count);
    return ok && count > 0 ? 0 : 1;
}

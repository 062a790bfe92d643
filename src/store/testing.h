/* A folder of its own for each test, removed at the end. Included by tests of this module and of those above it. */
#ifndef NACRE_STORE_TESTING_H
#define NACRE_STORE_TESTING_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

struct test_folder {
    char path[64];
};

static inline struct test_folder test_folder_make(void) {
    struct test_folder folder = {"/tmp/nacre-test-XXXXXX"};
    if (mkdtemp(folder.path) == NULL) abort();
    return folder;
}

static inline int test_folder_visit(const char *path, const struct stat *s, int type, struct FTW *at) {
    (void)s;
    (void)type;
    (void)at;
    return remove(path);
}

static inline void test_folder_remove(const struct test_folder *folder) {
    if (nftw(folder->path, test_folder_visit, 16, FTW_DEPTH | FTW_PHYS) != 0) abort();
}

#endif

/* What of the C library a program may use, and where its output goes. */
#include <math.h>
#include <nacre.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int by_letter(const void *a, const void *b) {
    return *(const char *)a - *(const char *)b;
}

int32_t nacre_command(void) {
    char text[128], input[64] = "";
    nacre_input(input, sizeof input - 1);
    if (strcmp(input, "exit") == 0) exit(3);
    if (strcmp(input, "assert") == 0) abort();
    char *copy = malloc(strlen(input) + 1);
    if (copy == NULL) return -1;
    strcpy(copy, input);
    qsort(copy, strlen(copy), 1, by_letter);
    printf("sorted %s\n", copy);
    fprintf(stderr, "warning %d\n", 7);
    int n = snprintf(text, sizeof text, "%s %ld %.3f %d", copy, strtol("-42", NULL, 10), sqrt(2), (int)time(NULL));
    free(copy);
    return nacre_reply(text, (uint32_t)n);
}

int32_t nacre_query(void) {
    return nacre_command();
}

/* Must not build: there are no files. */
#include <nacre.h>
#include <stdio.h>

int32_t nacre_command(void) {
    FILE *file = fopen("state.txt", "r");
    return file == NULL;
}

int32_t nacre_query(void) {
    return 0;
}

/* A program's folder as `nacre new` makes it: program.c, program_test.txt, and program.wasm after `nacre build`. */
#ifndef NACRE_CMD_NACRE_PROJECT_H
#define NACRE_CMD_NACRE_PROJECT_H

#include "cli.h"

/* The module of a folder: program.wasm. E_NOT_FOUND. */
err_t project_module(char path[CLI_PATH_MAX], const char *dir, struct fault *f) MUST_CHECK;
/* The folder's own name, as `nacre deploy` calls the program. */
err_t project_name(char name[CLI_PATH_MAX], const char *dir, struct fault *f) MUST_CHECK;
/* The SDK for programs in C: NACRE_SDK, or found from where this program stands. E_NOT_FOUND. */
err_t project_sdk(char path[CLI_PATH_MAX], struct fault *f) MUST_CHECK;
/* The folder of this program file. */
err_t project_own_folder(char path[CLI_PATH_MAX], struct fault *f) MUST_CHECK;

#endif

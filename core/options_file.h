// The configuration file: lines of "name = value". It knows the form, not the names. Main thread.
#ifndef KS_CORE_OPTIONS_FILE_H
#define KS_CORE_OPTIONS_FILE_H

#include <stdbool.h>

#include "error.h"

// Called for each setting; `where` is "FILE:LINE". False (and *err) ends the reading.
typedef bool ks_options_file_setting(void *context, const char *where, const char *name, const char *value, struct ks_error *err);

// Reads the file. One that is not there is an error only if `required`. Errors are usage errors that name the file, and the line where there is one.
bool ks_options_file_read(const char *path, bool required, ks_options_file_setting *on_setting, void *context, struct ks_error *err);

#endif

// Memory that runs out on purpose. In tests/unit/test_alloc_*.c the calls of our own code to malloc, calloc, realloc, strdup, strndup, getline and free come here
// (ld's --wrap), and so jansson's, which core/json.c gives our malloc: the n-th of them fails, or it and all after it, and what was not given back is counted.
#ifndef KS_TESTS_ALLOC_H
#define KS_TESTS_ALLOC_H

#include <stdbool.h>

#include "core/error.h"

// One piece of work from beginning to end, everything freed when it returns. False: memory ran out, *err says so. It may call alloc_spare before it looks at what
// is left after a failure. It must not use libcheck while memory runs out: alloc_must instead.
typedef bool alloc_work(void *arg, struct ks_error *err);

enum alloc_tells { ALLOC_TELLS_BY_ERROR, ALLOC_TELLS_BY_FALSE };  // whether *err must have been filled

// Does the work with the first allocation failing, the second, … until it is done without a failure, then again with all from the n-th on failing. Fails the test on
// a leak, on work that fails without a failed allocation, and on an error that is not ks_error_memory's. Returns how many allocations the work makes.
long alloc_each(alloc_work *work, void *arg, enum alloc_tells tells);

// No more failures until the next round.
void alloc_spare(void);

// Fails the test.
#define alloc_must(fact) ((fact) ? (void)0 : alloc_broken(#fact, __FILE__, __LINE__))
void alloc_broken(const char *fact, const char *file, int line);

#endif

# Keepsake. `make` builds build/keepsake and build/libkeepsake; `make check` tests everything; `make help` lists the rest.
# On a machine without make: apt-get install -y make
#
#   make CC=clang                  built by clang, into build/clang
#   make SANITIZE=address,undefined into build/address-undefined (or thread, into build/thread)
#   make BUILD=/some/where         into another folder

VERSION = 0.1.0
SOVERSION = 0

ifeq ($(origin CC),default)
CC = gcc
endif
AR = ar
SANITIZE =
comma = ,
VARIANT = $(filter-out gcc,$(notdir $(CC))) $(subst $(comma),-,$(SANITIZE))
BUILD = build$(if $(strip $(VARIANT)),/$(subst $(eval) ,-,$(strip $(VARIANT))))
DESTDIR =
# V=1 shows each command in full.
V =
Q = $(if $(V),,@)
say = $(if $(V),,@echo '  $(1)')
PREFIX = /usr/local

# --- how things are compiled ------------------------------------------------------------------------------------------------------

WARNINGS = -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Wvla -Wno-sign-conversion
ifeq ($(SANITIZE),)
OPTIMIZE = -O2 -g -D_FORTIFY_SOURCE=2 -fstack-protector-strong
LINK_HARDENED = -Wl,-z,relro,-z,now
LINK_CLOSED = -Wl,-z,defs
else
OPTIMIZE = -O1 -g -fno-omit-frame-pointer -fsanitize=$(SANITIZE) -fno-sanitize-recover=all
# Fuzzers bring a main of their own: it is linked, but not compiled in.
LINK_HARDENED = -fsanitize=$(subst fuzzer-no-link,fuzzer,$(SANITIZE))
LINK_CLOSED =
endif
ifneq ($(COVERAGE),)
OPTIMIZE = -O0 -g --coverage
endif
WERROR =
# pkg-config is asked once, when the first command needs it: only then are its packages sure to be there.
once = $(eval $(1) := $(2))$($(1))
PKG_CFLAGS = $(call once,PKG_CFLAGS,$(shell pkg-config --cflags rdkafka libpq jansson libcrypto))
PKG_LIBS = $(call once,PKG_LIBS,$(shell pkg-config --libs rdkafka libpq jansson libcrypto))
LIBRARY_LIBS = $(call once,LIBRARY_LIBS,$(shell pkg-config --libs rdkafka jansson libcrypto))
CHECK_LIBS = $(call once,CHECK_LIBS,$(shell pkg-config --libs check))

CFLAGS = $(OPTIMIZE)
ALL_CFLAGS = -std=gnu17 -D_GNU_SOURCE $(CFLAGS) -fPIC -pthread $(WARNINGS) $(WERROR) -MMD -MP -I. $(PKG_CFLAGS) -DKS_VERSION='"$(VERSION)"'
LDFLAGS = $(LINK_HARDENED) $(if $(COVERAGE),--coverage) -pthread -Wl,--as-needed

# --- what there is ----------------------------------------------------------------------------------------------------------------

objects = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
CORE = $(call objects,$(sort $(wildcard core/*.c))) $(BUILD)/obj/gen/sql.o
PRODUCER = $(call objects,$(sort $(wildcard producer/*.c)))
PROGRAMS = $(PRODUCER) $(call objects,$(sort $(wildcard consumer/*.c archiver/*.c restorer/*.c operator/*.c)))
CLI = $(call objects,$(sort $(wildcard cli/*.c)))
# The library is what the producer's command is not; of core the linker takes what that needs.
LIBRARY = $(filter-out %_command.o $(BUILD)/obj/producer/produce_%.o,$(PRODUCER))

TESTS = $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(sort $(wildcard tests/unit/test_*.c)))
TOOLS = $(patsubst tests/support/%_tool.c,$(BUILD)/tests/%-tool,$(sort $(wildcard tests/support/*_tool.c)))
SUPPORT = $(call objects,$(filter-out %_tool.c %/alloc.c,$(sort $(wildcard tests/support/*.c))))
FUZZERS = $(patsubst tests/fuzz/%.c,$(BUILD)/fuzzers/%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))
EMBEDDED = $(sort $(wildcard sql/schema/*.sql sql/query/*.sql))

LIBRARY_SO = $(BUILD)/libkeepsake.so.$(SOVERSION)
LIBRARY_FILES = $(if $(LIBRARY),$(LIBRARY_SO) $(BUILD)/libkeepsake.a $(BUILD)/keepsake.pc)

.PHONY: all help deps check check-unit check-e2e check-asan check-tsan check-warnings check-fuzz check-faults check-mutants check-valgrind check-full fuzz build-fuzzers fuzzers soak check-layering check-docs docs demo install clean coverage tests FORCE
.DELETE_ON_ERROR:
.SECONDARY:

all: $(BUILD)/keepsake $(LIBRARY_FILES)

help:
	@echo 'make            build/keepsake and build/libkeepsake.{so,a,pc}; installs missing build packages (or says how)'
	@echo 'make check      every suite; installs what they need; ends with one line: N passed, N failed'
	@echo 'make check-unit (-e2e, -asan, -tsan, -warnings, -fuzz, -layering, -docs): one suite'
	@echo 'make check-faults (LIST=1), check-mutants: the faults that are survived; that their tests notice when a defence is missing'
	@echo 'make fuzz TIME=1h  the fuzz targets, so long all together; what they find stays in build/fuzz/fuzzers/findings'
	@echo 'make soak ROUNDS=50 SEED=1  load and faults on real servers, round after round'
	@echo 'make demo       publish, lose the database, rebuild it, prove it, on services of its own'
	@echo 'make install    into PREFIX (default /usr/local), below DESTDIR'
	@echo 'make docs       writes docs/configuration.md and docs/keepsake.1 again'
	@echo 'make coverage   the lines of core/ that tests run; those that none runs are explained in tests/COVERAGE.md'
	@echo 'make check-full everything for longer, valgrind, coverage: some hours'
	@echo 'make clean'

# --- packages ---------------------------------------------------------------------------------------------------------------------

deps:
	tools/deps build

# Once in each build folder; a changed list of packages is looked at again.
$(BUILD)/.deps: $(wildcard tools/deps)
	@mkdir -p $(@D)
	@if [ -x tools/deps ]; then tools/deps build; fi
	@touch $@

# --- objects ----------------------------------------------------------------------------------------------------------------------

$(BUILD)/obj/%.o: %.c | $(BUILD)/.deps
	@mkdir -p $(@D)
	$(call say,cc    $<)
	$(Q)$(CC) $(ALL_CFLAGS) -c $< -o $@

$(BUILD)/gen/sql.c: tools/embed-sql $(EMBEDDED) $(BUILD)/gen/sql.list
	@mkdir -p $(@D)
	$(call say,sql   $@)
	$(Q)tools/embed-sql sql/schema sql/query > $@

# Changes when a SQL file comes or goes.
$(BUILD)/gen/sql.list: FORCE
	@mkdir -p $(@D)
	@echo '$(EMBEDDED)' | cmp -s - $@ || echo '$(EMBEDDED)' > $@

$(BUILD)/obj/gen/sql.o: $(BUILD)/gen/sql.c | $(BUILD)/.deps
	@mkdir -p $(@D)
	$(call say,cc    $<)
	$(Q)$(CC) $(ALL_CFLAGS) -c $< -o $@

$(BUILD)/core.a: $(CORE)
	@rm -f $@
	$(call say,ar    $@)
	$(Q)$(AR) rcs $@ $(CORE)

$(BUILD)/programs.a: $(CORE) $(PROGRAMS)
	@rm -f $@
	$(call say,ar    $@)
	$(Q)$(AR) rcs $@ $^

# --- the program and the library --------------------------------------------------------------------------------------------------

$(BUILD)/keepsake: $(CLI) $(PROGRAMS) $(BUILD)/core.a
	$(call say,link  $@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(PKG_LIBS)

$(LIBRARY_SO): $(LIBRARY) $(BUILD)/core.a producer/libkeepsake.map
	$(call say,link  $@)
	$(Q)$(CC) -shared $(LDFLAGS) $(LINK_CLOSED) -Wl,-soname,$(@F) -Wl,--version-script=producer/libkeepsake.map -o $@ $(LIBRARY) $(BUILD)/core.a $(LIBRARY_LIBS)
	@ln -sf $(@F) $(BUILD)/libkeepsake.so

# One object in which only the exported names are left global, so that a program's own names cannot meet those of core.
$(BUILD)/libkeepsake.a: $(LIBRARY) $(BUILD)/core.a producer/libkeepsake.map
	$(Q)$(CC) -r -nostdlib -o $(BUILD)/obj/libkeepsake.o $(LIBRARY) $(BUILD)/core.a
	$(Q)sed -n 's/^ *\(ks_[a-z0-9_*]*\);.*/\1/p' producer/libkeepsake.map > $(BUILD)/gen/exported
	$(Q)objcopy --wildcard --keep-global-symbols=$(BUILD)/gen/exported $(BUILD)/obj/libkeepsake.o
	@rm -f $@
	$(call say,ar    $@)
	$(Q)$(AR) rcs $@ $(BUILD)/obj/libkeepsake.o

$(BUILD)/keepsake.pc: producer/keepsake.pc.in Makefile
	@mkdir -p $(@D)
	@sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' $< > $@

install: all docs/keepsake.1
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/bash-completion/completions
	install -m 755 $(BUILD)/keepsake $(DESTDIR)$(PREFIX)/bin/keepsake
	install -m 644 docs/keepsake.1 $(DESTDIR)$(PREFIX)/share/man/man1/keepsake.1
	KEEPSAKE_CONFIG=/dev/null $(BUILD)/keepsake completion bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/keepsake
ifneq ($(LIBRARY),)
	install -d $(DESTDIR)$(PREFIX)/lib/pkgconfig $(DESTDIR)$(PREFIX)/include
	install -m 755 $(LIBRARY_SO) $(DESTDIR)$(PREFIX)/lib/
	ln -sf libkeepsake.so.$(SOVERSION) $(DESTDIR)$(PREFIX)/lib/libkeepsake.so
	install -m 644 $(BUILD)/libkeepsake.a $(DESTDIR)$(PREFIX)/lib/
	install -m 644 producer/keepsake.h $(DESTDIR)$(PREFIX)/include/
	sed 's|^prefix=.*|prefix=$(PREFIX)|' $(BUILD)/keepsake.pc > $(DESTDIR)$(PREFIX)/lib/pkgconfig/keepsake.pc
endif

# --- documentation from the tables ------------------------------------------------------------------------------------------------

docs: $(BUILD)/keepsake
	KEEPSAKE_CONFIG=/dev/null $(BUILD)/keepsake completion markdown > docs/configuration.md
	KEEPSAKE_CONFIG=/dev/null $(BUILD)/keepsake completion man > docs/keepsake.1

docs/keepsake.1:
	$(MAKE) docs

check-docs: $(BUILD)/keepsake $(BUILD)/.deps-tests
	tools/check-docs $(BUILD)/keepsake

# --- tests ------------------------------------------------------------------------------------------------------------------------
# tests/unit/test_NAME.c is a program of its own over core; test_{producer,consumer,archiver,restorer,operator,cli}_NAME.c sees the
# programs as well; so does test_alloc_NAME.c, where memory runs out. tests/support/NAME_tool.c becomes build/tests/NAME-tool; other files there are linked with every unit test.

tests: $(TESTS) $(TOOLS)

PROGRAM_TESTS = $(foreach folder,producer consumer archiver restorer operator,$(BUILD)/tests/test_$(folder)_%)
CLI_TESTS = $(BUILD)/tests/test_cli_%
# Where memory runs out (tests/support/alloc.h); they see everything but main.
ALLOC_TESTS = $(BUILD)/tests/test_alloc_%
ALLOC_WRAP = $(foreach function,malloc calloc realloc strdup strndup getline __getdelim free,-Wl,--wrap=$(function))

$(filter $(PROGRAM_TESTS),$(TESTS)): $(BUILD)/tests/%: $(BUILD)/obj/tests/unit/%.o $(SUPPORT) $(BUILD)/programs.a
	@mkdir -p $(@D)
	$(call say,link  $@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(CHECK_LIBS) $(PKG_LIBS)

$(filter $(CLI_TESTS),$(TESTS)): $(BUILD)/tests/%: $(BUILD)/obj/tests/unit/%.o $(SUPPORT) $(filter-out %/main.o,$(CLI)) $(BUILD)/programs.a
	@mkdir -p $(@D)
	$(call say,link  $@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(CHECK_LIBS) $(PKG_LIBS)

$(filter $(ALLOC_TESTS),$(TESTS)): $(BUILD)/tests/%: $(BUILD)/obj/tests/unit/%.o $(SUPPORT) $(BUILD)/obj/tests/support/alloc.o $(filter-out %/main.o,$(CLI)) $(BUILD)/programs.a
	@mkdir -p $(@D)
	$(call say,link  $@)
	$(Q)$(CC) $(LDFLAGS) $(ALLOC_WRAP) -o $@ $^ $(CHECK_LIBS) $(PKG_LIBS)

$(filter-out $(PROGRAM_TESTS) $(CLI_TESTS) $(ALLOC_TESTS),$(TESTS)): $(BUILD)/tests/%: $(BUILD)/obj/tests/unit/%.o $(SUPPORT) $(BUILD)/core.a
	@mkdir -p $(@D)
	$(call say,link  $@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(CHECK_LIBS) $(PKG_LIBS)

$(BUILD)/tests/%-tool: $(BUILD)/obj/tests/support/%_tool.o $(BUILD)/core.a
	@mkdir -p $(@D)
	$(call say,link  $@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(PKG_LIBS)

# What the suites need beside the build: libcheck, clang, python3-pytest; PostgreSQL, Java and Kafka for those that run services.
$(BUILD)/.deps-tests: $(wildcard tools/deps) | $(BUILD)/.deps
	@mkdir -p $(@D)
	@if [ -x tools/deps ]; then tools/deps tests; fi
	@touch $@

$(BUILD)/.deps-services: $(wildcard tools/deps) | $(BUILD)/.deps-tests
	@if [ -x tools/deps ]; then tools/deps services; fi
	@touch $@

$(call objects,$(wildcard tests/unit/*.c tests/support/*.c tests/fuzz/*.c)): | $(BUILD)/.deps-tests

check-unit: tests
	@tools/run-units $(BUILD)/tests

check-asan:
	@$(MAKE) --no-print-directory SANITIZE=address,undefined BUILD=$(BUILD)/address-undefined check-unit

check-tsan:
	@$(MAKE) --no-print-directory SANITIZE=thread BUILD=$(BUILD)/thread check-unit

# tests/fuzz/fuzz_NAME.c: a target of libFuzzer over core; its corpus is tests/fuzz/corpus/NAME. FUZZ_SECONDS for each; TIME for all together.
FUZZ_SECONDS = 10
TIME = 1h
build-fuzzers: $(BUILD)/.deps-services
	@$(MAKE) --no-print-directory CC=clang SANITIZE=fuzzer-no-link,address,undefined BUILD=$(BUILD)/fuzz fuzzers

check-fuzz: build-fuzzers
	@tools/run-fuzz run $(BUILD)/fuzz/fuzzers --each $(FUZZ_SECONDS)

fuzz: build-fuzzers
	@nice -n 10 tools/run-fuzz run $(BUILD)/fuzz/fuzzers --time $(TIME)

fuzzers: $(FUZZERS)

$(FUZZERS): $(BUILD)/fuzzers/%: $(BUILD)/obj/tests/fuzz/%.o $(BUILD)/core.a
	@mkdir -p $(@D)
	$(call say,link  $@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(PKG_LIBS)

# Both compilers, each warning an error.
check-warnings:
	@$(MAKE) --no-print-directory CC=gcc WERROR=-Werror BUILD=$(BUILD)/warnings-gcc all tests
	@$(MAKE) --no-print-directory CC=clang WERROR=-Werror BUILD=$(BUILD)/warnings-clang all tests
	@echo 'warnings: 2 passed, 0 failed'

check-layering: $(LIBRARY_FILES)
	@tools/layering $(BUILD)

check-e2e: all tests $(BUILD)/.deps-services
	@BUILD=$(BUILD) tools/run-suites e2e

# LIST=1: names each fault, how it is injected, how it is seen to strike, and its tests.
check-faults: all tests $(BUILD)/.deps-services
	@KEEPSAKE_BIN=$(BUILD)/keepsake KEEPSAKE_RESULTS=$(BUILD)/results \
	  /usr/bin/python3 -m pytest -q -p no:cacheprovider $(if $(LIST),-s --list-faults,-n 3 --dist loadfile) tests/e2e/faults

# Load and faults on real servers: ROUNDS of them from SEED, which makes them the same again.
ROUNDS = 50
SEED = 1
soak: all $(BUILD)/.deps-services
	@KEEPSAKE_BIN=$(BUILD)/keepsake nice -n 5 /usr/bin/python3 tests/soak/soak.py --rounds $(ROUNDS) --seed $(SEED) -v

# Each defence taken away in turn: the test that stands for it must fail. MUTANTS="NAME ..." for some.
check-mutants: all tests $(BUILD)/.deps-services
	@BUILD=$(BUILD) KEEPSAKE_RESULTS=$(BUILD)/results tools/run-mutants $(MUTANTS)

# One suite is a line in tools/run-suites.
check: all tests $(BUILD)/.deps-services
	@BUILD=$(BUILD) tools/run-suites

demo:
	@BUILD=$(BUILD) demo/run

# Lines of core/ that the unit tests and the end-to-end tests run; what none runs is explained in tests/COVERAGE.md (tools/coverage).
COVERAGE_E2E = tests/e2e
coverage: $(BUILD)/.deps-services
	@if [ -x tools/deps ]; then tools/deps extra; fi
	@$(MAKE) --no-print-directory COVERAGE=1 BUILD=$(BUILD)/coverage all tests
	@find $(BUILD)/coverage -name '*.gcda' -delete
	@$(MAKE) --no-print-directory COVERAGE=1 BUILD=$(BUILD)/coverage check-unit
	KEEPSAKE_BIN=$(BUILD)/coverage/keepsake /usr/bin/python3 -m pytest -q -p no:cacheprovider -n 3 --dist loadfile $(COVERAGE_E2E)
	@lcov --quiet --capture --directory $(BUILD)/coverage --output-file $(BUILD)/coverage/all.info 2>/dev/null
	@tools/coverage $(BUILD)/coverage/all.info

check-valgrind: tests
	@tools/deps extra
	@UNDER=tools/under-valgrind CK_DEFAULT_TIMEOUT=1200 tools/run-units $(BUILD)/tests

# Everything of check, for longer: all mutants, 500 rounds of soak, an hour of fuzzing; and valgrind over the unit tests and the whole path, and coverage.
check-full: all tests $(BUILD)/.deps-services
	@tools/deps extra
	@BUILD=$(BUILD) tools/run-suites --full

clean:
	rm -rf build $(BUILD)

FORCE:

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)

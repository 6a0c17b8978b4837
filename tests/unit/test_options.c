#include "core/options.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/options_nearest.h"
#include "core/options_table.h"

// The environment of a test: pairs of name and value, ended by NULL.
static const char *const *variables;

static const char *environment(const char *name) {
  for (const char *const *pair = variables; pair && *pair; pair += 2) {
    if (strcmp(pair[0], name) == 0) return pair[1];
  }
  return strcmp(name, "KEEPSAKE_CONFIG") == 0 ? "/dev/null" : NULL;
}

static const enum ks_option allowed[] = {
    KS_OPT_GROUP, KS_OPT_DEAD_LETTER_LIMIT, KS_OPT_MEMORY, KS_OPT_TIMEOUT, KS_OPT_LIMIT, KS_OPT_USER,       KS_OPT_BATCH_MS,
    KS_OPT_KINDS, KS_OPT_SPILL_DIR,         KS_OPT_ALL,    KS_OPT_RESUME,  KS_OPT_FROM,  KS_OPT_PARTITIONS, KS_OPT_MAX_RATE,
    KS_OPT_COUNT};

// The words of a command line after "keepsake", ended by NULL.
static struct ks_options *parse(struct ks_error *err, const char *const *words) {
  const char *argv[32] = {"keepsake"};
  int argc = 1;
  while (*words) argv[argc++] = *words++;
  return ks_options_parse(argc, argv, allowed, environment, err);
}

#define PARSE(...) parse(&err, (const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

static void setup(void) { variables = NULL; }

// --- the command line -------------------------------------------------------------------------------------------------------------

START_TEST(options_may_stand_anywhere_and_in_every_form) {
  struct ks_error err;
  struct ks_options *options = PARSE("-bone:1", "consume", "--group=stage", "a", "--limit", "7", "-qv", "--", "--json", "-");
  ck_assert_msg(options != NULL, "%s", err.message);
  ck_assert_str_eq(ks_options_string(options, KS_OPT_BROKERS), "one:1");
  ck_assert_str_eq(ks_options_string(options, KS_OPT_GROUP), "stage");
  ck_assert_int_eq(ks_options_int(options, KS_OPT_LIMIT), 7);
  ck_assert(ks_options_flag(options, KS_OPT_QUIET) && ks_options_flag(options, KS_OPT_VERBOSE) && !ks_options_flag(options, KS_OPT_JSON));
  int count;
  const char *const *arguments = ks_options_arguments(options, &count);
  ck_assert_int_eq(count, 4);
  ck_assert_str_eq(arguments[0], "consume");
  ck_assert_str_eq(arguments[1], "a");
  ck_assert_str_eq(arguments[2], "--json");
  ck_assert_str_eq(arguments[3], "-");
  ks_options_free(options);
}
END_TEST

START_TEST(the_command_is_taken_off_the_arguments) {
  struct ks_error err;
  const char *const argv[] = {"keepsake", "-q", "restore", "--limit=3", "rebuild", "rest", NULL};
  struct ks_options *options = ks_options_scan(6, argv, &err);
  ck_assert(options && ks_options_finish(options, 2, allowed, environment, &err));
  int count;
  const char *const *arguments = ks_options_arguments(options, &count);
  ck_assert_int_eq(count, 1);
  ck_assert_str_eq(arguments[0], "rest");
  ks_options_free(options);
}
END_TEST

START_TEST(what_was_not_said_has_its_default) {
  struct ks_error err;
  struct ks_options *options = PARSE("consume");
  ck_assert_msg(options != NULL, "%s", err.message);
  ck_assert_ptr_null(ks_options_string(options, KS_OPT_BROKERS));
  ck_assert_ptr_null(ks_options_string(options, KS_OPT_FROM));
  ck_assert_str_eq(ks_options_string(options, KS_OPT_DATABASE), "");
  ck_assert_str_eq(ks_options_string(options, KS_OPT_GROUP), "keepsake");
  ck_assert_str_eq(ks_options_string(options, KS_OPT_SPILL_DIR), "/var/tmp");
  ck_assert_int_eq(ks_options_int(options, KS_OPT_MEMORY), 64 << 20);
  ck_assert_int_eq(ks_options_int(options, KS_OPT_TIMEOUT), 60000);
  ck_assert_int_eq(ks_options_int(options, KS_OPT_AUDIT_INTERVAL), 3600000);
  ck_assert_int_eq(ks_options_int(options, KS_OPT_DEAD_LETTER_LIMIT), 100);
  ck_assert_int_eq(ks_options_int(options, KS_OPT_BROKER_DISK), 0);
  ck_assert(!ks_options_given(options, KS_OPT_GROUP));
  ck_assert_str_eq(ks_options_origin(options, KS_OPT_GROUP), "default");
  int count;
  ck_assert_ptr_null(ks_options_list(options, KS_OPT_PROPERTY, &count)[0]);
  ck_assert_int_eq(count, 0);
  ks_options_free(options);
}
END_TEST

START_TEST(a_list_keeps_its_order) {
  struct ks_error err;
  struct ks_options *options = PARSE("--user", "b", "--user=a", "--user", "c=d");
  int count;
  const char *const *users = ks_options_list(options, KS_OPT_USER, &count);
  ck_assert_int_eq(count, 3);
  ck_assert_str_eq(users[0], "b");
  ck_assert_str_eq(users[1], "a");
  ck_assert_str_eq(users[2], "c=d");
  ck_assert_ptr_null(users[3]);
  ks_options_free(options);
}
END_TEST

START_TEST(the_last_of_two_counts) {
  struct ks_error err;
  struct ks_options *options = PARSE("--group", "a", "--group", "b", "--all", "--all=no");
  ck_assert_str_eq(ks_options_string(options, KS_OPT_GROUP), "b");
  ck_assert(!ks_options_flag(options, KS_OPT_ALL));
  ks_options_free(options);
}
END_TEST

static const struct {
  const char *words[3];
  const char *message, *hint;  // what they begin with; NULL: any
} refused[] = {
    {{"--bogus"}, "unknown option '--bogus'", "keepsake COMMAND --help"},
    {{"--broker=x"}, "unknown option '--broker'", "Did you mean --brokers?"},
    {{"--memroy", "1"}, "unknown option '--memroy'", "Did you mean --memory?"},
    {{"--dead-letter", "1"}, "unknown option '--dead-letter'", "Did you mean --dead-letter-limit?"},
    {{"--=x"}, "unknown option '--'", NULL},
    {{"-z"}, "unknown option '-z'", NULL},
    {{"-qz"}, "unknown option '-z'", NULL},
    {{"-\xC3\xA4"}, "unknown option '-\xC3\xA4'", NULL},
    {{"--group"}, "--group needs a value: --group NAME", NULL},
    {{"-b"}, "--brokers needs a value", NULL},
    {{"--group="}, "--group: the value is empty", NULL},
    {{"--json=perhaps"}, "--json: 'perhaps' is neither yes nor no", NULL},
    {{"--reason", "x"}, "this command has no option --reason", NULL},
    {{"--limit", "0"}, "--limit: '0' is not between 1 and 1000000000", NULL},
    {{"--limit", "-1"}, "--limit: '-1' is not a number", NULL},
    {{"--limit", "7x"}, "--limit: '7x' is not a number", NULL},
    {{"--limit", "99999999999999999999"}, "--limit: '99999999999999999999' is not a number", NULL},
    {{"--partitions", "1025"}, "--partitions: '1025' is not between 1 and 1024", NULL},
    {{"--memory", "64M"}, "--memory: '64M' is not a size", "Write bytes"},
    {{"--memory", "MiB"}, "--memory: 'MiB' is not a size", NULL},
    {{"--memory", "9999999TiB"}, "--memory: '9999999TiB' is not a size", NULL},
    {{"--memory", "1"}, "--memory: '1' is not between 1048576 and", NULL},
    {{"--timeout", "5"}, "--timeout: '5' is not a time", "Write a number with its unit"},
    {{"--timeout", "5 m"}, "--timeout: '5 m' is not a time", NULL},
    {{"--timeout", "2d"}, "--timeout: '2d' is not between 0 and 86400000 ms", NULL},
    {{"--dead-letter-limit", "1"}, "--dead-letter-limit: '1' is not a percentage", NULL},
    {{"--dead-letter-limit", "1853255926290448374%"}, "--dead-letter-limit: '1853255926290448374%' is not", NULL},
    {{"--dead-letter-limit", "18532559262904483740%"}, "--dead-letter-limit: '18532559262904483740%' is not", NULL},
    {{"--dead-letter-limit", "100.01%"}, "--dead-letter-limit: '100.01%' is not", NULL},
    {{"--dead-letter-limit", "0.001%"}, "--dead-letter-limit: '0.001%' is not", NULL},
    {{"--dead-letter-limit", ".5%"}, "--dead-letter-limit: '.5%' is not", NULL},
    {{"--log-format", "xml"}, "--log-format: 'xml' is none of text|json", NULL},
    {{"--kinds", "contact,"}, "--kinds: '' is none of none|contact", NULL},
    {{"--kinds", "contact, note"}, "--kinds: ' note' is none of", NULL},
    {{"--kinds", "contacts"}, "--kinds: 'contacts' is none of", NULL},
    {{"-X", "novalue"}, "--property: a property without name or '='", NULL},
    {{"-X", "=value"}, "--property: a property without name or '='", NULL},
};

START_TEST(wrong_words_are_usage_errors_that_name_them) {
  struct ks_error err = {0};
  struct ks_options *options = parse(&err, refused[_i].words);
  ck_assert_msg(options == NULL, "%s %s", refused[_i].words[0], refused[_i].words[1]);
  ck_assert_int_eq(err.exit, KS_EXIT_USAGE);
  ck_assert_msg(strncmp(err.message, refused[_i].message, strlen(refused[_i].message)) == 0, "%s", err.message);
  if (refused[_i].hint) ck_assert_msg(strncmp(err.hint, refused[_i].hint, strlen(refused[_i].hint)) == 0, "%s", err.hint);
}
END_TEST

static const struct {
  const char *option, *text;
  enum ks_option id;
  int64_t value;
} numbers[] = {
    {"--memory", "1048576", KS_OPT_MEMORY, 1 << 20},
    {"--memory", "64MiB", KS_OPT_MEMORY, 64 << 20},
    {"--memory", "2 GiB", KS_OPT_MEMORY, INT64_C(2) << 30},
    {"--memory", "1GB", KS_OPT_MEMORY, 1000000000},
    {"--memory", "2000kB", KS_OPT_MEMORY, 2000000},
    {"--memory", "1TiB", KS_OPT_MEMORY, INT64_C(1) << 40},
    {"--timeout", "0", KS_OPT_TIMEOUT, 0},
    {"--timeout", "500ms", KS_OPT_TIMEOUT, 500},
    {"--timeout", "5s", KS_OPT_TIMEOUT, 5000},
    {"--timeout", "2min", KS_OPT_TIMEOUT, 120000},
    {"--timeout", "1h", KS_OPT_TIMEOUT, 3600000},
    {"--timeout", "1d", KS_OPT_TIMEOUT, 86400000},
    {"--batch-ms", "250", KS_OPT_BATCH_MS, 250},
    {"--dead-letter-limit", "off", KS_OPT_DEAD_LETTER_LIMIT, -1},
    {"--dead-letter-limit", "0%", KS_OPT_DEAD_LETTER_LIMIT, 0},
    {"--dead-letter-limit", "0.5%", KS_OPT_DEAD_LETTER_LIMIT, 50},
    {"--dead-letter-limit", "12.25%", KS_OPT_DEAD_LETTER_LIMIT, 1225},
    {"--dead-letter-limit", "100%", KS_OPT_DEAD_LETTER_LIMIT, 10000},
};

START_TEST(numbers_take_their_units) {
  struct ks_error err;
  struct ks_options *options = PARSE(numbers[_i].option, numbers[_i].text);
  ck_assert_msg(options != NULL, "%s", err.message);
  ck_assert_int_eq(ks_options_int(options, numbers[_i].id), numbers[_i].value);
  ck_assert(ks_options_given(options, numbers[_i].id));
  ks_options_free(options);
}
END_TEST

// --- secrets ----------------------------------------------------------------------------------------------------------------------

static const char *const secrets[][2] = {
    {"-d", "host=db password=hunter2"},
    {"-d", "host=db password = 'hunter2'"},
    {"-d", "PASSWORD=hunter2"},
    {"-d", "sslpassword=hunter2"},
    {"--database", "postgresql://user:hunter2@db/keepsake"},
    {"--database", "postgres://:hunter2@db"},
    {"--database", "postgresql://db/keepsake?user=a&password=hunter2"},
    {"--database", "postgresql://db/keepsake?p%61ssword=hunter2"},
    {"-X", "sasl.password=hunter2"},
    {"-X", "ssl.key.password=hunter2"},
    {"-X", "SSL.KEYSTORE.PASSWORD=hunter2"},
    {"-X", "sasl.oauthbearer.client.secret=hunter2"},
    {"-X", "ssl.key.pem=hunter2"},
};

START_TEST(a_secret_on_the_command_line_is_refused_and_not_repeated) {
  struct ks_error err;
  ck_assert_ptr_null(PARSE("consume", secrets[_i][0], secrets[_i][1]));
  ck_assert_int_eq(err.exit, KS_EXIT_USAGE);
  ck_assert_msg(strstr(err.message, "on the command line") != NULL, "%s", err.message);
  ck_assert_ptr_null(strstr(err.message, "hunter2"));
  ck_assert_ptr_null(strstr(err.hint, "hunter2"));
  ck_assert_ptr_nonnull(strstr(err.hint, "KEEPSAKE_"));
}
END_TEST

static const char *const no_secrets[][2] = {
    {"-d", "host=db passfile=/etc/pgpass"},
    {"-d", "host=db application_name=password_of_nobody"},
    {"-d", "postgresql://user@db:5432/keepsake?sslmode=require"},
    {"-d", "postgresql://db:5432,db2:5433/keepsake"},
    {"-d", ""},
    {"-X", "security.protocol=SASL_SSL"},
    {"-X", "ssl.key.location=/etc/key.pem"},
    {"-X", "sasl.username=secretary"},
};

START_TEST(what_is_no_secret_may_stand_there) {
  struct ks_error err;
  struct ks_options *options = PARSE("consume", no_secrets[_i][0], no_secrets[_i][1]);
  ck_assert_msg(options != NULL, "%s", err.message);
  ks_options_free(options);
}
END_TEST

START_TEST(a_secret_may_stand_in_the_environment) {
  static const char *const pairs[] = {"KEEPSAKE_DATABASE", "password=hunter2", "KEEPSAKE_PROPERTIES", "sasl.password=hunter2", NULL};
  variables = pairs;
  struct ks_error err;
  struct ks_options *options = PARSE("consume");
  ck_assert_msg(options != NULL, "%s", err.message);
  ck_assert_str_eq(ks_options_string(options, KS_OPT_DATABASE), "password=hunter2");
  ks_options_free(options);
}
END_TEST

// --- environment and file ---------------------------------------------------------------------------------------------------------

static char config_path[64];

static void config_write(const char *text) {
  strcpy(config_path, "/tmp/keepsake-conf-XXXXXX");
  int file = mkstemp(config_path);
  ck_assert_int_ge(file, 0);
  ck_assert_int_eq(write(file, text, strlen(text)), (ssize_t)strlen(text));
  close(file);
}

START_TEST(flag_counts_before_environment_before_file_before_default) {
  static const char *const pairs[] = {
      "KEEPSAKE_GROUP", "from-env", "KEEPSAKE_MEMORY", "2MiB", "KEEPSAKE_JSON", "1", "KEEPSAKE_LIMIT", "", NULL};
  variables = pairs;
  config_write("group = from-file\n  memory=3MiB\r\n# a comment\n\ntimeout = 7s\nlimit = 9\nverbose = yes\n");
  struct ks_error err;
  struct ks_options *options = PARSE("--config", config_path, "--group", "from-flag");
  unlink(config_path);
  ck_assert_msg(options != NULL, "%s", err.message);
  ck_assert_str_eq(ks_options_string(options, KS_OPT_GROUP), "from-flag");
  ck_assert_int_eq(ks_options_int(options, KS_OPT_MEMORY), 2 << 20);
  ck_assert_int_eq(ks_options_int(options, KS_OPT_TIMEOUT), 7000);
  ck_assert_int_eq(ks_options_int(options, KS_OPT_LIMIT), 9);
  ck_assert_int_eq(ks_options_int(options, KS_OPT_BATCH_MS), 200);
  ck_assert(ks_options_flag(options, KS_OPT_JSON) && ks_options_flag(options, KS_OPT_VERBOSE));
  ck_assert_str_eq(ks_options_origin(options, KS_OPT_GROUP), "--group");
  ck_assert_str_eq(ks_options_origin(options, KS_OPT_MEMORY), "KEEPSAKE_MEMORY");
  char where[80];
  snprintf(where, sizeof where, "%s:5", config_path);
  ck_assert_str_eq(ks_options_origin(options, KS_OPT_TIMEOUT), where);
  ks_options_free(options);
}
END_TEST

START_TEST(properties_of_all_places_count_and_the_higher_place_wins) {
  config_write("property = a=file\nproperty = b=file=2\nproperty = sasl.password = s;e#c\n");
  const char *const pairs[] = {"KEEPSAKE_PROPERTIES", "b=env; c=env\n\n d=env;", "KEEPSAKE_CONFIG", config_path, NULL};
  variables = pairs;
  struct ks_error err;
  struct ks_options *options = PARSE("-X", "c=flag", "-Xe=flag", "-X", "e=again");
  unlink(config_path);
  ck_assert_msg(options != NULL, "%s", err.message);
  int count;
  const char *const *properties = ks_options_list(options, KS_OPT_PROPERTY, &count);
  static const char *const wanted[] = {"a=file", "sasl.password = s;e#c", "b=env", "d=env", "c=flag", "e=again"};
  ck_assert_int_eq(count, 6);
  for (int i = 0; i < count; i++) ck_assert_str_eq(properties[i], wanted[i]);
  ck_assert_ptr_null(properties[count]);
  ks_options_free(options);
}
END_TEST

static const struct {
  const char *text, *message, *hint;
} bad_files[] = {
    {"group = a\ncolour = 3\n", ":2: unknown name 'colour'", "The names are those"},
    {"broker = a\n", ":1: unknown name 'broker'", "Did you mean brokers?"},
    {"\n\nmemory = lots\n", ":3: memory: 'lots' is not a size", NULL},
    {"group =\n", ":1: group: the value is empty", NULL},
    {"just words\n", ":1: a line without name or '='", NULL},
    {"= x\n", ":1: a line without name or '='", NULL},
    {"yes = yes\n", ":1: yes cannot stand in a file", NULL},
    {"user = anna", ":1: user cannot stand in a file", NULL},
    {"config = x", ":1: config cannot stand in a file", NULL},
    {"property = sasl.password\n", ":1: property: a property without name or '='", NULL},
};

START_TEST(a_bad_file_is_named_with_its_line) {
  config_write(bad_files[_i].text);
  struct ks_error err;
  ck_assert_ptr_null(PARSE("--config", config_path));
  unlink(config_path);
  ck_assert_int_eq(err.exit, KS_EXIT_USAGE);
  ck_assert_int_eq(strncmp(err.message, config_path, strlen(config_path)), 0);
  ck_assert_str_eq(err.message + strlen(config_path), bad_files[_i].message);
  if (bad_files[_i].hint) ck_assert_int_eq(strncmp(err.hint, bad_files[_i].hint, strlen(bad_files[_i].hint)), 0);
}
END_TEST

START_TEST(a_file_is_judged_also_where_a_flag_overrides_it) {
  config_write("memory = lots\n");
  struct ks_error err;
  ck_assert_ptr_null(PARSE("--config", config_path, "--memory", "2MiB"));
  unlink(config_path);
  ck_assert_ptr_nonnull(strstr(err.message, ":1: memory: 'lots'"));
}
END_TEST

START_TEST(a_named_file_must_be_there) {
  struct ks_error err;
  ck_assert_ptr_null(PARSE("--config", "/nowhere/keepsake.conf"));
  ck_assert_ptr_nonnull(strstr(err.message, "cannot read the configuration file /nowhere/keepsake.conf: No such file"));
  ck_assert_ptr_null(PARSE("--config", "/tmp"));
  ck_assert_ptr_nonnull(strstr(err.message, "cannot read the configuration file /tmp: Is a directory"));
}
END_TEST

START_TEST(a_bad_variable_is_named) {
  static const char *const pairs[] = {"KEEPSAKE_DEAD_LETTER_LIMIT", "many", NULL};
  variables = pairs;
  struct ks_error err;
  ck_assert_ptr_null(PARSE("consume"));
  ck_assert_str_eq(err.message, "KEEPSAKE_DEAD_LETTER_LIMIT: 'many' is not a percentage");
}
END_TEST

START_TEST(what_is_asked_anew_in_each_call_is_not_taken_from_the_environment) {
  static const char *const pairs[] = {"KEEPSAKE_YES", "1", "KEEPSAKE_USER", "anna", "KEEPSAKE_ALL", "1", NULL};
  variables = pairs;
  struct ks_error err;
  struct ks_options *options = PARSE("consume");
  ck_assert(!ks_options_flag(options, KS_OPT_YES) && !ks_options_flag(options, KS_OPT_ALL) && !ks_options_given(options, KS_OPT_USER));
  ks_options_free(options);
}
END_TEST

START_TEST(tmpdir_is_where_to_spill) {
  static const char *const pairs[] = {"TMPDIR", "/scratch", NULL};
  variables = pairs;
  struct ks_error err;
  struct ks_options *options = PARSE("consume");
  ck_assert_str_eq(ks_options_string(options, KS_OPT_SPILL_DIR), "/scratch");
  ck_assert(!ks_options_given(options, KS_OPT_SPILL_DIR));
  ks_options_free(options);
}
END_TEST

// --- the table --------------------------------------------------------------------------------------------------------------------

START_TEST(the_table_is_whole) {
  for (int i = 0; i < KS_OPT_COUNT; i++) {
    const struct ks_option_row *row = ks_option_row((enum ks_option)i);
    ck_assert_msg(row->name != NULL, "option %d has no row", i);
    ck_assert_int_eq(row->option, i);
    ck_assert_msg(row->help && row->help[0] && row->help[strlen(row->help) - 1] == '.', "%s: help is no sentence", row->name);
    ck_assert_msg((row->type == KS_TYPE_FLAG) == (row->metavar == NULL), "%s: metavar", row->name);
    ck_assert_msg((row->choices != NULL) == (row->type == KS_TYPE_CHOICE || row->type == KS_TYPE_CHOICES), "%s: choices", row->name);
    ck_assert_int_eq(ks_option_find(row->name, strlen(row->name)), i);
    if (row->letter) ck_assert_int_eq(ks_option_find_letter(row->letter), i);
  }
  ck_assert_int_eq(ks_option_find("nothing", 7), KS_OPT_COUNT);
  ck_assert_int_eq(ks_option_find_letter(0), KS_OPT_COUNT);
}
END_TEST

START_TEST(variables_are_named_after_options) {
  char variable[64];
  ks_option_variable(KS_OPT_DEAD_LETTER_LIMIT, variable);
  ck_assert_str_eq(variable, "KEEPSAKE_DEAD_LETTER_LIMIT");
  ks_option_variable(KS_OPT_PROPERTY, variable);
  ck_assert_str_eq(variable, "KEEPSAKE_PROPERTIES");
  ks_option_variable(KS_OPT_YES, variable);
  ck_assert_str_eq(variable, "");
}
END_TEST

START_TEST(the_nearest_name_is_found_and_nothing_far) {
  static const char *const names[] = {"init", "consume", "restore", "status", "deadletter"};
  static const char *const asked[][2] = {{"consum", "consume"},  {"cnosume", "consume"}, {"inti", "init"},
                                         {"dead", "deadletter"}, {"xyzzy", NULL},        {"", NULL},
                                         {"stauts", "status"}};
  for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++) {
    struct ks_nearest nearest = {asked[i][0], NULL, 0};
    for (size_t j = 0; j < sizeof names / sizeof names[0]; j++) ks_nearest_offer(&nearest, names[j]);
    ck_assert_pstr_eq(nearest.best, asked[i][1]);
  }
  char large[200];
  memset(large, 'x', sizeof large - 1);
  large[sizeof large - 1] = 0;
  struct ks_nearest nearest = {large, NULL, 0};
  ks_nearest_offer(&nearest, "init");
  ck_assert_ptr_null(nearest.best);
}
END_TEST

static TCase *command_line_tests(void) {
  TCase *tests = tcase_create("command line");
  tcase_add_checked_fixture(tests, setup, NULL);
  tcase_add_test(tests, options_may_stand_anywhere_and_in_every_form);
  tcase_add_test(tests, the_command_is_taken_off_the_arguments);
  tcase_add_test(tests, what_was_not_said_has_its_default);
  tcase_add_test(tests, a_list_keeps_its_order);
  tcase_add_test(tests, the_last_of_two_counts);
  tcase_add_loop_test(tests, wrong_words_are_usage_errors_that_name_them, 0, (int)(sizeof refused / sizeof refused[0]));
  tcase_add_loop_test(tests, numbers_take_their_units, 0, (int)(sizeof numbers / sizeof numbers[0]));
  tcase_add_loop_test(tests, a_secret_on_the_command_line_is_refused_and_not_repeated, 0, (int)(sizeof secrets / sizeof secrets[0]));
  tcase_add_loop_test(tests, what_is_no_secret_may_stand_there, 0, (int)(sizeof no_secrets / sizeof no_secrets[0]));
  return tests;
}

static TCase *source_tests(void) {
  TCase *tests = tcase_create("sources");
  tcase_add_checked_fixture(tests, setup, NULL);
  tcase_add_test(tests, a_secret_may_stand_in_the_environment);
  tcase_add_test(tests, flag_counts_before_environment_before_file_before_default);
  tcase_add_test(tests, properties_of_all_places_count_and_the_higher_place_wins);
  tcase_add_loop_test(tests, a_bad_file_is_named_with_its_line, 0, (int)(sizeof bad_files / sizeof bad_files[0]));
  tcase_add_test(tests, a_file_is_judged_also_where_a_flag_overrides_it);
  tcase_add_test(tests, a_named_file_must_be_there);
  tcase_add_test(tests, a_bad_variable_is_named);
  tcase_add_test(tests, what_is_asked_anew_in_each_call_is_not_taken_from_the_environment);
  tcase_add_test(tests, tmpdir_is_where_to_spill);
  tcase_add_test(tests, the_table_is_whole);
  tcase_add_test(tests, variables_are_named_after_options);
  tcase_add_test(tests, the_nearest_name_is_found_and_nothing_far);
  return tests;
}

int main(void) {
  Suite *suite = suite_create("options");
  suite_add_tcase(suite, command_line_tests());
  suite_add_tcase(suite, source_tests());
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#include "cli/commands.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/docs.h"
#include "cli/help.h"
#include "cli/wrap.h"
#include "core/options_table.h"

// What a page prints, as text that the caller frees.
static char *printed_by(void (*page)(FILE *out)) {
  char *text = NULL;
  size_t size = 0;
  FILE *out = open_memstream(&text, &size);
  page(out);
  fclose(out);
  return text;
}

START_TEST(every_command_is_whole) {
  int count = 0;
  for (const struct ks_command *const *at = ks_commands(); *at; at++, count++) {
    const struct ks_command *command = *at;
    ck_assert(command->name && command->name[0] && command->arguments && command->options && command->run);
    ck_assert_msg(command->summary && command->summary[0] && command->summary[strlen(command->summary) - 1] != '.', "%s: summary",
                  command->name);
    ck_assert_msg(command->text && command->text[0], "%s: text", command->name);
    ck_assert_msg(command->examples && strstr(command->examples, "keepsake "), "%s: examples", command->name);
    for (const enum ks_option *option = command->options; *option != KS_OPT_COUNT; option++) {
      for (const enum ks_option *common = ks_options_common; *common != KS_OPT_COUNT; common++) {
        ck_assert_msg(*option != *common, "%s: --%s is common", command->name, ks_option_row(*option)->name);
      }
      for (const enum ks_option *other = command->options; other < option; other++) {
        ck_assert_msg(*option != *other, "%s: --%s twice", command->name, ks_option_row(*option)->name);
      }
    }
  }
  ck_assert_int_ge(count, 2);
}
END_TEST

START_TEST(every_command_is_found_by_its_words_and_by_no_others) {
  for (const struct ks_command *const *at = ks_commands(); *at; at++) {
    char first[64];
    int used, length = ks_command_group_length(*at);
    snprintf(first, sizeof first, "%.*s", length ? length : (int)strlen((*at)->name), (*at)->name);
    const char *const words[] = {first, length ? (*at)->name + length + 1 : "rest", "rest"};
    struct ks_error err;
    ck_assert_ptr_eq(ks_command_find(words, 3, &used, &err), *at);
    ck_assert_int_eq(used, length ? 2 : 1);
    if (!length) continue;
    ck_assert_ptr_null(ks_command_find(words, 1, &used, &err));
    ck_assert_ptr_nonnull(strstr(err.message, "needs a second word"));
    ck_assert_ptr_nonnull(strstr(err.hint, words[1]));
    const char *const wrong[] = {first, "nonsense"};
    ck_assert_ptr_null(ks_command_find(wrong, 2, &used, &err));
    ck_assert_ptr_nonnull(strstr(err.message, "nonsense"));
  }
}
END_TEST

START_TEST(an_unknown_command_is_a_usage_error_with_the_nearest_name) {
  struct ks_error err;
  int used;
  ck_assert_ptr_null(ks_command_find((const char *const[]){"completoin"}, 1, &used, &err));
  ck_assert_int_eq(err.exit, KS_EXIT_USAGE);
  ck_assert_str_eq(err.message, "unknown command 'completoin'");
  ck_assert_str_eq(err.hint, "Did you mean completion?");
  ck_assert_ptr_null(ks_command_find((const char *const[]){"xyzzy"}, 1, &used, &err));
  ck_assert_str_eq(err.hint, "keepsake --help lists the commands.");
  ck_assert_ptr_null(ks_command_find(NULL, 0, &used, &err));
  ck_assert_str_eq(err.message, "no command given");
  ck_assert_ptr_null(ks_command_find((const char *const[]){""}, 1, &used, &err));
}
END_TEST

START_TEST(help_names_every_command_and_common_option) {
  char *text = printed_by(ks_help_program);
  for (const struct ks_command *const *at = ks_commands(); *at; at++) ck_assert_ptr_nonnull(strstr(text, (*at)->summary));
  for (const enum ks_option *option = ks_options_common; *option != KS_OPT_COUNT; option++)
    ck_assert_ptr_nonnull(strstr(text, ks_option_row(*option)->name));
  free(text);
}
END_TEST

START_TEST(a_commands_help_names_its_options_with_default_and_variable) {
  static const enum ks_option options[] = {KS_OPT_DEAD_LETTER_LIMIT, KS_OPT_FROM, KS_OPT_COUNT};
  static const struct ks_command command = {"test me", "[FILE...]", -1, "summary", "Text.\n\n  verbatim   line\n", "keepsake test me  # so",
                                            options,   NULL};
  char *text = NULL;
  size_t size = 0;
  FILE *out = open_memstream(&text, &size);
  ks_help_command(out, &command);
  fclose(out);
  ck_assert_int_eq(strncmp(text, "Usage: keepsake test me [OPTION...] [FILE...]\n\nText.\n\n  verbatim   line\n\nOptions:\n", 80), 0);
  ck_assert_ptr_nonnull(strstr(text, "      --dead-letter-limit PERCENT|off\n"));
  ck_assert_ptr_nonnull(strstr(text, "Default: 1%. Variable: KEEPSAKE_DEAD_LETTER_LIMIT.\n"));
  ck_assert_ptr_nonnull(strstr(text, "          One of log|database.\n"));
  ck_assert_ptr_nonnull(strstr(text, "\nExamples:\n  keepsake test me  # so\n"));
  ck_assert_ptr_nonnull(strstr(text, "\nExit status:\n   0  done"));
  free(text);
}
END_TEST

START_TEST(text_is_wrapped_at_eighty_columns_of_characters) {
  char *text = NULL;
  size_t size = 0;
  FILE *out = open_memstream(&text, &size);
  char words[4000] = "";
  for (int i = 0; i < 300; i++) strcat(words, i % 3 ? "w\xC3\xB6rter " : "a ");
  ks_wrap(out, 4, words);
  ks_wrap(out, 0, "x");
  ks_wrap(out, 2, "");
  fclose(out);
  int columns = 0, lines = 0, widest = 0;
  for (const char *at = text; *at; at++) {
    if (*at == '\n') {
      ck_assert_int_ne(at[-1], ' ');
      columns = 0;
      lines++;
    } else {
      columns += ((unsigned char)*at & 0xC0) != 0x80;
    }
    if (columns > widest) widest = columns;
  }
  ck_assert_int_le(widest, 80);
  ck_assert_int_gt(widest, 72);
  ck_assert_int_gt(lines, 10);
  free(text);
}
END_TEST

START_TEST(pages_name_every_option_that_a_command_takes) {
  char *markdown = printed_by(ks_docs_markdown), *man = printed_by(ks_docs_man);
  for (const struct ks_command *const *at = ks_commands(); *at; at++) {
    for (const enum ks_option *option = (*at)->options; *option != KS_OPT_COUNT; option++) {
      char name[80];
      snprintf(name, sizeof name, "`--%s", ks_option_row(*option)->name);
      ck_assert_ptr_nonnull(strstr(markdown, name));
    }
  }
  ck_assert_ptr_nonnull(strstr(man, "\\-\\-log\\-format FORMAT"));
  ck_assert_ptr_nonnull(strstr(man, ".SH EXIT STATUS"));
  free(markdown);
  free(man);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("commands");
  TCase *tests = tcase_create("commands");
  suite_add_tcase(suite, tests);
  tcase_add_test(tests, every_command_is_whole);
  tcase_add_test(tests, every_command_is_found_by_its_words_and_by_no_others);
  tcase_add_test(tests, an_unknown_command_is_a_usage_error_with_the_nearest_name);
  tcase_add_test(tests, help_names_every_command_and_common_option);
  tcase_add_test(tests, a_commands_help_names_its_options_with_default_and_variable);
  tcase_add_test(tests, text_is_wrapped_at_eighty_columns_of_characters);
  tcase_add_test(tests, pages_name_every_option_that_a_command_takes);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#include "wrap.h"

#include <string.h>

enum { COLUMNS = 80 };

// Columns of UTF-8 text: characters. Wide and combining ones do not occur in what we write.
static int width(const char *text, size_t size) {
  int columns = 0;
  for (size_t i = 0; i < size; i++) columns += ((unsigned char)text[i] & 0xC0) != 0x80;
  return columns;
}

static void wrap_line(FILE *out, int indent, const char *line, size_t size) {
  int column = 0;
  while (size > 0) {
    size_t word = 0;
    while (word < size && line[word] != ' ') word++;
    if (word > 0) {
      int columns = width(line, word);
      if (column > 0 && column + 1 + columns > COLUMNS) {
        fputc('\n', out);
        column = 0;
      }
      if (column == 0) {
        fprintf(out, "%*s", indent, "");
        column = indent;
      } else {
        fputc(' ', out);
        column++;
      }
      fwrite(line, 1, word, out);
      column += columns;
    }
    word += word < size;
    line += word;
    size -= word;
  }
  fputc('\n', out);
}

void ks_wrap(FILE *out, int indent, const char *text) {
  while (*text) {
    size_t size = strcspn(text, "\n");
    if (size == 0) {
      fputc('\n', out);
    } else if (*text == ' ') {
      fprintf(out, "%*s%.*s\n", indent, "", (int)size, text);
    } else {
      wrap_line(out, indent, text, size);
    }
    text += size + (text[size] == '\n');
  }
}

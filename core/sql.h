// The SQL files of sql/, built into the program by tools/embed-sql: the migrations in their order, and the queries by name. Constant; any thread.
#ifndef KS_CORE_SQL_H
#define KS_CORE_SQL_H

struct ks_sql_file {
  const char *name;  // without folder and ".sql": "001_schema"
  const char *text;
};

// sql/schema/*.sql, by name. One entry beyond the count has NULL names.
extern const struct ks_sql_file ks_sql_schema[];
extern const int ks_sql_schema_count;

// The text of sql/query/NAME.sql; NULL when there is none.
const char *ks_sql_query(const char *name);

#endif

/* unit_pool.c - see unit_pool.h. */
#include <string.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "unit_pool.h"

apr_pool_t *pool;

int pool_open(void **state)
{
    (void)state;
    return apr_initialize() != APR_SUCCESS || apr_pool_create(&pool, NULL) != APR_SUCCESS;
}

int pool_close(void **state)
{
    (void)state;
    apr_pool_destroy(pool);
    apr_terminate();
    return 0;
}

apr_table_t *headers(const char *text)
{
    apr_table_t *t = apr_table_make(pool, 4);
    char *last, *line;

    for (line = apr_strtok(apr_pstrdup(pool, text), "|", &last); line; line = apr_strtok(NULL, "|", &last)) {
        char *colon = strchr(line, ':');

        apr_table_addn(t, apr_pstrmemdup(pool, line, (size_t)(colon - line)), colon[1] ? colon + 2 : colon + 1);
    }
    return t;
}

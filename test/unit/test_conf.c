/*
 * test_conf.c - what gate_conf.h makes of a list of fields: unset, inherited, overridden, defaults last.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <apr_pools.h>
#include <apr_tables.h>

#include "gate_conf.h"
#include "unit_pool.h"

#define APP_FIELDS(F)                                        \
    F(int, enabled, GATE_UNSET, 0)                           \
    F(int64_t, timeout_usec, GATE_UNSET, 60000000)           \
    F(double, share, GATE_UNSET, 0.5)                        \
    F(const char *, name, NULL, "none")                      \
    F(const apr_array_header_t *, rules, NULL, NULL)

GATE_CONF_STRUCT(app_conf_t, APP_FIELDS);
GATE_CONF_FUNCTIONS(app_conf, app_conf_t, APP_FIELDS)

static void test_created_unset(void **state)
{
    app_conf_t *conf = app_conf_create_at(pool);

    (void)state;
    assert_int_equal(conf->enabled, GATE_UNSET);
    assert_true(conf->timeout_usec == GATE_UNSET);
    assert_true(conf->share == GATE_UNSET);
    assert_null(conf->name);
    assert_null(conf->rules);
}

static void test_defaults_fill_what_is_unset(void **state)
{
    app_conf_t *conf = app_conf_create_at(pool);

    (void)state;
    conf->timeout_usec = 0; /* set, although to nothing */
    app_conf_defaults(conf);
    assert_int_equal(conf->enabled, 0);
    assert_true(conf->timeout_usec == 0);
    assert_true(conf->share == 0.5);
    assert_string_equal(conf->name, "none");
    assert_null(conf->rules);
    conf->enabled = 1;
    app_conf_defaults(conf); /* a second time changes nothing */
    assert_int_equal(conf->enabled, 1);
}

static void test_inherited(void **state)
{
    app_conf_t *outer = app_conf_create_at(pool), *inner = app_conf_create_at(pool), *conf;

    (void)state;
    outer->enabled = 1;
    outer->name = "outer";
    outer->rules = apr_array_make(pool, 1, sizeof(int));
    conf = app_conf_merge(pool, outer, inner);
    assert_int_equal(conf->enabled, 1);
    assert_string_equal(conf->name, "outer");
    assert_ptr_equal(conf->rules, outer->rules);
    assert_true(conf->timeout_usec == GATE_UNSET); /* nobody said: still open for a deeper section, and for the default */
}

static void test_overridden(void **state)
{
    app_conf_t *outer = app_conf_create_at(pool), *inner = app_conf_create_at(pool), *conf;

    (void)state;
    outer->enabled = 1;
    outer->timeout_usec = 5;
    outer->name = "outer";
    outer->rules = apr_array_make(pool, 1, sizeof(int));
    inner->enabled = 0;
    inner->timeout_usec = 0;
    inner->name = "";
    inner->rules = apr_array_make(pool, 1, sizeof(int));
    conf = app_conf_merge(pool, outer, inner);
    assert_int_equal(conf->enabled, 0);
    assert_true(conf->timeout_usec == 0);
    assert_string_equal(conf->name, "");
    assert_ptr_equal(conf->rules, inner->rules);
    assert_int_equal(outer->enabled, 1); /* neither source is changed */
    assert_string_equal(outer->name, "outer");
}

/* The case in which defaults applied too early would switch an outer setting off. */
static void test_three_levels(void **state)
{
    app_conf_t *server = app_conf_create_at(pool), *vhost = app_conf_create_at(pool), *dir = app_conf_create_at(pool), *conf;

    (void)state;
    server->enabled = 1;
    vhost->name = "vhost";
    dir->timeout_usec = 7;
    conf = app_conf_merge(pool, app_conf_merge(pool, server, vhost), dir);
    app_conf_defaults(conf);
    assert_int_equal(conf->enabled, 1);
    assert_string_equal(conf->name, "vhost");
    assert_true(conf->timeout_usec == 7);
    assert_true(conf->share == 0.5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_created_unset),
        cmocka_unit_test(test_defaults_fill_what_is_unset),
        cmocka_unit_test(test_inherited),
        cmocka_unit_test(test_overridden),
        cmocka_unit_test(test_three_levels),
    };

    return cmocka_run_group_tests_name("conf", tests, pool_open, pool_close);
}

/*
 * test_section.c - sections: registration, actions by method and path, nodes in the order they were put.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "gate_section.h"
#include "unit_pool.h"

static int setup(void **state)
{
    gate_sections_clear();
    return pool_open(state);
}

static int nothing(gate_call_t *call, void *ctx)
{
    (void)call, (void)ctx;
    return 0;
}

static const gate_action_t cache_actions[] = {
    { "POST", "cache/purge", "Purge", "", NULL, nothing },
    { NULL, NULL, NULL, NULL, NULL, NULL }
};
static const gate_action_t access_actions[] = {
    { "GET", "bans", "Bans", "", NULL, nothing },
    { "DELETE", "bans", "Lift", "", NULL, nothing },
    { NULL, NULL, NULL, NULL, NULL, NULL }
};
static const gate_section_t cache = { .name = "cache", .title = "Cache", .actions = cache_actions };
static const gate_section_t access_section = { .name = "access", .title = "Access", .actions = access_actions };

static void test_register(void **state)
{
    static gate_section_t many[GATE_SECTIONS_MAX];
    static char names[GATE_SECTIONS_MAX][8];

    (void)state;
    assert_null(gate_sections()[0]);
    assert_int_equal(gate_section_register(&cache), 0);
    assert_int_equal(gate_section_register(&cache), -1);
    assert_ptr_equal(gate_sections()[0], &cache);
    assert_null(gate_sections()[1]);
    for (int i = 0; i < GATE_SECTIONS_MAX; i++) {
        names[i][0] = (char)('a' + i);
        many[i].name = names[i];
        assert_int_equal(gate_section_register(&many[i]), i < GATE_SECTIONS_MAX - 1 ? 0 : -1);
    }
    assert_null(gate_sections()[GATE_SECTIONS_MAX]);
    gate_sections_clear();
    assert_null(gate_sections()[0]);
}

static void test_actions(void **state)
{
    const gate_section_t *whose = NULL;
    int known;

    (void)state;
    gate_section_register(&cache);
    gate_section_register(&access_section);
    assert_ptr_equal(gate_section_action("DELETE", "bans", &whose, &known), &access_actions[1]);
    assert_ptr_equal(whose, &access_section);
    assert_ptr_equal(gate_section_action("POST", "cache/purge", NULL, &known), &cache_actions[0]);
    assert_null(gate_section_action("GET", "cache/purge", &whose, &known));
    assert_int_equal(known, 1);
    assert_null(gate_section_action("GET", "cache", &whose, &known));
    assert_int_equal(known, 0);
}

static void test_nodes(void **state)
{
    static const gate_metric_t hit = { "cache_requests", "Requests", "result", "hit" };
    static const char *const keys[] = { "hits", "size", "ratio", "name", "on", "at", "none", "list", "latency" };
    gate_node_t *root = gate_node_create(pool), *list;
    gate_histogram_t h = { 0 };
    char text[] = "changing";
    int i = 0;

    (void)state;
    gate_histogram_record(&h, 1000);
    gate_put_count(root, "hits", UINT64_MAX, &hit);
    gate_put_gauge(root, "size", -5, NULL);
    gate_put_real(root, "ratio", 0.5, NULL);
    gate_put_text(root, "name", text);
    gate_put_flag(root, "on", 7);
    gate_put_time(root, "at", 1);
    gate_put_text(root, "none", NULL);
    list = gate_put_list(root, "list");
    gate_put_histogram(root, "latency", &h, NULL);
    text[0] = 'X';
    gate_histogram_record(&h, 1000);
    for (const gate_node_t *n = root->first; n; n = n->next) {
        assert_string_equal(n->key, keys[i++]);
    }
    assert_int_equal(i, sizeof keys / sizeof *keys);
    assert_true(gate_node_get(root, "hits")->v.count == UINT64_MAX);
    assert_ptr_equal(gate_node_get(root, "hits")->metric, &hit);
    assert_string_equal(gate_node_get(root, "name")->v.text, "changing");
    assert_int_equal(gate_node_get(root, "on")->v.gauge, 1);
    assert_int_equal(gate_node_get(root, "none")->kind, GATE_NODE_NULL);
    assert_int_equal(gate_histogram_count(gate_node_get(root, "latency")->v.histogram), 1);
    assert_null(gate_node_get(root, "nope"));

    gate_put_text(list, NULL, "a");
    gate_put_textf(list, NULL, "%d", 42);
    assert_string_equal(list->first->next->v.text, "42");
    assert_ptr_equal(list->last, list->first->next);
}

static void test_a_key_is_put_again(void **state)
{
    gate_node_t *root = gate_node_create(pool), *object;

    (void)state;
    object = gate_put_object(root, "a");
    gate_put_gauge(object, "x", 1, NULL);
    gate_put_gauge(root, "b", 2, NULL);
    gate_put_text(root, "a", "now a text");
    assert_ptr_equal(gate_node_get(root, "a"), root->first);
    assert_int_equal(root->first->kind, GATE_NODE_TEXT);
    assert_null(root->first->first);
    assert_string_equal(root->first->next->key, "b");
    assert_null(root->first->next->next);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_register, setup, pool_close),
        cmocka_unit_test_setup_teardown(test_actions, setup, pool_close),
        cmocka_unit_test_setup_teardown(test_nodes, setup, pool_close),
        cmocka_unit_test_setup_teardown(test_a_key_is_put_again, setup, pool_close),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

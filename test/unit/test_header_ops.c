/* test_header_ops.c - Header and RequestHeader lines: which are literal, and what they make of fields. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include <apr_strings.h>

#include "eligible_table.h"
#include "header_ops.h"
#include "unit_pool.h"

static void add(fields_t *fields, const char *name, const char *value)
{
    field_t *f = &fields->field[fields->count++];

    memset(f, 0, sizeof *f);
    f->name = (span_t){ name, (uint32_t)strlen(name) };
    f->value = (span_t){ value, (uint32_t)strlen(value) };
    f->known = (uint8_t)field_of(name, f->name.len);
}

/* "A: b|C: d" */
static void fill(fields_t *fields, const char *text)
{
    char *copy = apr_pstrdup(pool, text), *state = NULL, *line;

    memset(fields, 0, sizeof *fields);
    fields->field = apr_pcalloc(pool, 64 * sizeof(field_t));
    for (line = apr_strtok(copy, "|", &state); line; line = apr_strtok(NULL, "|", &state)) {
        char *colon = strstr(line, ": ");

        *colon = '\0';
        add(fields, line, colon + 2);
    }
}

static const char *text_of(const fields_t *fields)
{
    const char *text = "";
    uint32_t i;

    for (i = 0; i < fields->count; i++) {
        const field_t *f = &fields->field[i];

        text = apr_psprintf(pool, "%s%s%.*s: %.*s", text, i ? "|" : "", (int)f->name.len, f->name.at, (int)f->value.len, f->value.at);
    }
    return text;
}

static const char *run(const char *lines, const char *before)
{
    header_ops_t *ops = header_ops_create(pool);
    char *copy = apr_pstrdup(pool, lines), *state = NULL, *line;
    fields_t in, out;
    header_op_t op;
    int computed;

    for (line = apr_strtok(copy, "|", &state); line; line = apr_strtok(NULL, "|", &state)) {
        assert_null(header_op_parse(pool, line, 0, &op, &computed));
        header_ops_add(pool, ops, &op);
    }
    fill(&in, before);
    header_ops_apply(ops, &in, &out, pool);
    return text_of(&out);
}

static void sets(void **state)
{
    (void)state;
    assert_string_equal(run("set A b", ""), "A: b");
    assert_string_equal(run("set A b", "X: y|a: 1|Z: z|A: 2"), "X: y|a: b|Z: z");
    assert_string_equal(run("set A \"b c\"|set A d", "X: y"), "X: y|A: d");
    assert_string_equal(run("set A: b", ""), "A: b");
    assert_string_equal(run("setifempty A b", "A: c"), "A: c");
    assert_string_equal(run("setifempty A b", "B: c"), "B: c|A: b");
    assert_string_equal(run("set A 100%%", ""), "A: 100%");
}

static void adds(void **state)
{
    (void)state;
    assert_string_equal(run("add A b", "A: c"), "A: c|A: b");
    assert_string_equal(run("append A b", "A: c|A: d"), "A: c, b|A: d");
    assert_string_equal(run("append A b", ""), "A: b");
    assert_string_equal(run("merge A b", "A: c, b"), "A: c, b");
    assert_string_equal(run("merge A b", "A: c, \"x, b\", bb"), "A: c, \"x, b\", bb, b");
    assert_string_equal(run("merge Cache-Control no-store", "cache-control: private"), "cache-control: private, no-store");
}

static void unsets(void **state)
{
    (void)state;
    assert_string_equal(run("unset A", "A: 1|B: 2|a: 3"), "B: 2");
    assert_string_equal(run("unset Set-Cookie", "Set-Cookie: a|X: b|Set-Cookie: c"), "X: b");
    assert_string_equal(run("unset A", "B: 2"), "B: 2");
}

static void finds_known_fields_again(void **state)
{
    header_ops_t *ops = header_ops_create(pool);
    header_op_t op;
    int computed;
    fields_t in, out;

    (void)state;
    assert_null(header_op_parse(pool, "unset Accept-Encoding", 1, &op, &computed));
    header_ops_add(pool, ops, &op);
    assert_null(header_op_parse(pool, "set Cookie a", 1, &op, &computed));
    header_ops_add(pool, ops, &op);
    fill(&in, "Accept-Encoding: gzip|User-Agent: x");
    header_ops_apply(ops, &in, &out, pool);
    assert_null(fields_known(&out, FIELD_ACCEPT_ENCODING));
    assert_ptr_equal(fields_known(&out, FIELD_USER_AGENT), &out.field[0]);
    assert_ptr_equal(fields_known(&out, FIELD_COOKIE), &out.field[1]);
}

static void folds_a_requests_lines(void **state)
{
    header_ops_t *ops = header_ops_create(pool);
    header_op_t op;
    fields_t in, out;
    int computed;

    (void)state;
    assert_null(header_op_parse(pool, "append A d", 1, &op, &computed));
    header_ops_add(pool, ops, &op);
    fill(&in, "A: b|X: y|a: c");
    header_ops_apply(ops, &in, &out, pool);
    assert_string_equal(text_of(&out), "A: b, c, d|X: y");
}

static void from_nothing(void **state)
{
    header_ops_t *ops = header_ops_create(pool);
    header_op_t op;
    int computed;
    fields_t out;

    (void)state;
    assert_null(header_op_parse(pool, "always set A b", 0, &op, &computed));
    assert_int_equal(op.of, HEADER_OF_ANSWER_ALWAYS);
    header_ops_add(pool, ops, &op);
    header_ops_apply(ops, NULL, &out, pool);
    assert_string_equal(text_of(&out), "A: b");
}

static void many_operations(void **state)
{
    header_ops_t *ops = header_ops_create(pool);
    header_op_t op;
    int computed;
    fields_t out;
    int i;

    (void)state;
    for (i = 0; i < MESSAGE_FIELDS_MAX + 20; i++) {
        assert_null(header_op_parse(pool, apr_psprintf(pool, "set A%d b", i), 0, &op, &computed));
        header_ops_add(pool, ops, &op);
    }
    header_ops_apply(ops, NULL, &out, pool);
    assert_int_equal(out.count, MESSAGE_FIELDS_MAX);
}

static void computes(void **state)
{
    static const char *const lines[] = { "set A %t", "set A \"%{X}e\"", "set A expr=%{A}", "set A b\\n", "edit A b c", "edit* A b c", "echo A",
                                         "note A b", "set A b env=c", "unset A env=b", "set Content-Type a/b", "set A", "add A b \"expr=true\"" };
    header_op_t op;
    int computed;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof lines / sizeof *lines; i++) {
        if (header_op_parse(pool, lines[i], 0, &op, &computed) || !computed) {
            fail_msg("\"%s\" is not taken for computed", lines[i]);
        }
    }
    assert_null(header_op_parse(pool, "set X-Forwarded-Proto expr=%{REQUEST_SCHEME}", 1, &op, &computed));
    assert_int_equal(computed, 1);
    assert_string_equal(op.name, "X-Forwarded-Proto");
    assert_null(header_op_parse(pool, "set X-Forwarded-Proto https", 1, &op, &computed));
    assert_int_equal(computed, 0);
    assert_int_equal(op.of, HEADER_OF_REQUEST);
}

static void refuses(void **state)
{
    static const char *const lines[] = { "set A b early", "unset A early", "set Content-Length 1", "edit Connection close x", "set", "", "always",
                                         "set A expr=%{REMOTE_HOST}" };
    header_op_t op;
    int computed;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof lines / sizeof *lines; i++) {
        if (!header_op_parse(pool, lines[i], 0, &op, &computed)) {
            fail_msg("\"%s\" was taken", lines[i]);
        }
    }
    assert_non_null(header_op_parse(pool, "set Host a", 1, &op, &computed));
    assert_null(header_op_parse(pool, "unset X-Forwarded-For", 1, &op, &computed));
    assert_non_null(header_op_parse(pool, "set A b early", 1, &op, &computed));
}

/* It is done before lines that stand above it. */
static void early(void **state)
{
    header_ops_t *ops = header_ops_create(pool);
    header_op_t op;
    int computed;

    (void)state;
    assert_null(header_op_parse(pool, "set Proxy ours", 1, &op, &computed));
    header_ops_add(pool, ops, &op);
    assert_null(header_op_parse(pool, "unset Proxy early", 1, &op, &computed));
    assert_int_equal(op.early, 1);
    assert_int_equal(computed, 0);
    header_ops_add(pool, ops, &op);
    assert_int_equal(ops->count, 2);
    assert_int_equal(ops->op[0].op, HEADER_UNSET);
    assert_string_equal(ops->op[1].value, "ours");
}

static eligible_e verdict(const char *module, const char *name, const char *args)
{
    return eligible_directive(module, name, args, 0, ELIGIBLE_SELECT).verdict;
}

static void table(void **state)
{
    (void)state;
    assert_int_equal(verdict("core.c", "servername", "a"), ELIGIBLE_NEUTRAL);
    assert_int_equal(verdict("core.c", "SetHandler", "x"), ELIGIBLE_CLASSIC);
    assert_int_equal(verdict("core.c", "NewInTwoFive", "x"), ELIGIBLE_UNKNOWN);
    assert_int_equal(verdict("mod_other.c", "Anything", "x"), ELIGIBLE_UNKNOWN);
    assert_int_equal(verdict("mod_access_compat.c", "Allow", "from all 10.0.0.0/8 ::1 192.168"), ELIGIBLE_HONOURED);
    assert_int_equal(verdict("mod_access_compat.c", "Allow", "from face.de"), ELIGIBLE_CLASSIC);
    assert_int_equal(verdict("mod_access_compat.c", "Deny", "from env=x"), ELIGIBLE_CLASSIC);
    assert_int_equal(verdict("mod_access_compat.c", "Satisfy", "any"), ELIGIBLE_CLASSIC);
    assert_int_equal(verdict("mod_authz_core.c", "Require", "not ip 1.2.3.4"), ELIGIBLE_HONOURED);
    assert_int_equal(verdict("mod_authz_core.c", "Require", "expr true"), ELIGIBLE_CLASSIC);
    assert_int_equal(verdict("mod_gate_access.c", "GateLimit", "requests rate=1r/s"), ELIGIBLE_CLASSIC);
    assert_int_equal(eligible_directive("mod_gate_access.c", "GateLimit", "requests rate=1r/s", 1, ELIGIBLE_LIMIT).needs, ELIGIBLE_LIMIT);
    assert_int_equal(verdict("mod_gate_cache.c", "GateCache", "off"), ELIGIBLE_NEUTRAL);
    assert_int_equal(eligible_directive("mod_alias.c", "Redirect", "/ /x", 1, 0).verdict, ELIGIBLE_CLASSIC);
    assert_int_equal(eligible_directive("mod_ssl.c", "SSLVerifyClient", "none", 0, 0).verdict, ELIGIBLE_NEUTRAL);
    assert_int_equal(eligible_directive("mod_ssl.c", "SSLVerifyClient", "require", 0, 0).verdict, ELIGIBLE_CLASSIC);
    assert_int_equal(eligible_module("mod_status.c"), 1);
    assert_int_equal(eligible_module("mod_evasive.c"), 0);
}

static void words(void **state)
{
    const char *args = "  a \"b \\\"c\" 'd e' f\\g \"\" h\\\\i";
    const char *const expected[] = { "a", "b \"c", "d e", "f\\g", "", "h\\i" };
    char word[16];
    size_t i;

    (void)state;
    for (i = 0; i < sizeof expected / sizeof *expected; i++) {
        assert_int_equal(eligible_next_word(&args, word, sizeof word), (int)strlen(expected[i]));
        assert_string_equal(word, expected[i]);
    }
    assert_int_equal(eligible_next_word(&args, word, sizeof word), -1);
    args = "0123456789abcdefgh x";
    assert_int_equal(eligible_next_word(&args, word, sizeof word), 15);
    assert_int_equal(eligible_next_word(&args, word, sizeof word), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets), cmocka_unit_test(adds), cmocka_unit_test(unsets), cmocka_unit_test(finds_known_fields_again),
        cmocka_unit_test(folds_a_requests_lines),
        cmocka_unit_test(from_nothing), cmocka_unit_test(many_operations), cmocka_unit_test(computes), cmocka_unit_test(refuses), cmocka_unit_test(early), cmocka_unit_test(table),
        cmocka_unit_test(words)
    };

    return cmocka_run_group_tests_name("header_ops", tests, pool_open, pool_close);
}

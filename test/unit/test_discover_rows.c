/* discover_rows: what is kept of a source over restarts, what is forgotten, and what a dead writer leaves. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "discover_rows.h"

static discover_view_t view_of(const discover_row_t *row)
{
    discover_view_t view;

    assert_int_equal(discover_row_view(row, "app", "dns:a:80", &view), 1);
    return view;
}

static void looks_are_counted(void **state)
{
    discover_row_t row;
    discover_view_t view;

    (void)state;
    memset(&row, 0, sizeof row);
    discover_row_own(&row, "app", "dns:a:80");
    view = view_of(&row);
    assert_int_equal(view.state, DISCOVER_PENDING);
    assert_int_equal(view.tried_wall_usec, 0);

    discover_row_good(&row, 3, 100);
    discover_row_failed(&row, "no answer", 200);
    view = view_of(&row);
    assert_int_equal(view.state, DISCOVER_FAILING);
    assert_string_equal(view.why, "no answer");
    assert_int_equal(view.members, 3);
    assert_int_equal(view.good_wall_usec, 100);
    assert_int_equal(view.tried_wall_usec, 200);
    assert_int_equal(view.looks, 2);
    assert_int_equal(view.failures, 1);

    discover_row_same(&row, 250);
    assert_int_equal(view_of(&row).state, DISCOVER_FAILING);
    discover_row_good(&row, 2, 300);
    view = view_of(&row);
    assert_int_equal(view.state, DISCOVER_GOOD);
    assert_string_equal(view.why, "");
    assert_int_equal(view.members, 2);
    assert_int_equal(view.looks, 4);
}

static void a_row_is_its_sources(void **state)
{
    discover_row_t row;
    discover_view_t view;

    (void)state;
    memset(&row, 0, sizeof row);
    assert_int_equal(discover_row_view(&row, "app", "dns:a:80", &view), 0);
    discover_row_own(&row, "app", "dns:a:80");
    discover_row_failed(&row, "no answer", 200);
    discover_row_own(&row, "app", "dns:a:80"); /* a restart with the same configuration */
    assert_int_equal(view_of(&row).failures, 1);
    discover_row_own(&row, "appd", "ns:a:80");
    assert_int_equal(discover_row_view(&row, "app", "dns:a:80", &view), 0);
    assert_int_equal(discover_row_view(&row, "appd", "ns:a:80", &view), 1);
    assert_int_equal(view.failures, 0);
    assert_int_equal(view.state, DISCOVER_PENDING);
    assert_string_equal(view.why, "");
}

static void words_of_a_dead_writer_are_not_shown(void **state)
{
    char much[2 * DISCOVER_WHY_LEN];
    discover_row_t row;

    (void)state;
    memset(&row, 0, sizeof row);
    memset(much, 'x', sizeof much - 1);
    much[sizeof much - 1] = '\0';
    discover_row_own(&row, "app", "dns:a:80");
    discover_row_failed(&row, "half", 1);
    row.why_turn++; /* as it would be left */
    assert_string_equal(view_of(&row).why, "");
    discover_row_failed(&row, much, 2);
    assert_int_equal(strlen(view_of(&row).why), DISCOVER_WHY_LEN - 1);
    discover_row_good(NULL, 1, 1);
    discover_row_same(NULL, 1);
    discover_row_failed(NULL, "", 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(looks_are_counted),
        cmocka_unit_test(a_row_is_its_sources),
        cmocka_unit_test(words_of_a_dead_writer_are_not_shown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

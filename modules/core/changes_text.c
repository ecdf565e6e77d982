/*
 * changes_text.c - the state file's section "members": a line for each change, fields parted by tabs:
 *     group id what url weight weight_configured flags connections admin deadline at who
 * numbers in decimal, times in microseconds since the epoch.
 */
#include <inttypes.h>
#include <string.h>

#include <apr_lib.h>
#include <apr_strings.h>
#include <apr_tables.h>

#include "changes_table.h"
#include "gate_parse.h"

#define FIELDS 12
#define WHAT_MAX (GATE_CHANGE_ADDED | GATE_CHANGE_REMOVED | GATE_CHANGE_WEIGHT | GATE_CHANGE_ADMIN)

/* Who asked, as it fits into a field. */
static const char *clean(apr_pool_t *p, const char *text)
{
    char *copy = apr_pstrdup(p, text), *c;

    for (c = copy; *c; c++) {
        if (apr_iscntrl(*c)) {
            *c = '?';
        }
    }
    return copy;
}

static const char *line_of(apr_pool_t *p, const gate_change_t *c)
{
    return apr_psprintf(p, "%s\t%s\t%u\t%s\t%u\t%u\t%u\t%u\t%u\t%" APR_INT64_T_FMT "\t%" APR_INT64_T_FMT "\t%s\n", c->group, c->id,
                        c->what, c->url, c->weight, c->weight_configured, c->flags, c->connections, c->admin, c->deadline_wall_usec,
                        c->at_wall_usec, clean(p, c->who));
}

char *gate_changes_save(const gate_changes_t *changes, apr_pool_t *p, size_t *len)
{
    apr_array_header_t *lines = apr_array_make(p, 16, sizeof(char *));
    char *text;
    uint32_t i;

    if (changes_lock((gate_changes_t *)changes) == APR_SUCCESS) {
        for (i = 0; i < changes->capacity; i++) {
            gate_change_t c;

            if (changes_copy(changes, i, &c) == 0) {
                APR_ARRAY_PUSH(lines, const char *) = line_of(p, &c);
            }
        }
        changes_unlock((gate_changes_t *)changes);
    }
    text = apr_array_pstrcat(p, lines, '\0');
    *len = strlen(text);
    return text;
}

static int number(apr_pool_t *p, const char *text, uint64_t max, uint64_t *out)
{
    return gate_parse_uint(p, text, 0, max, out) == NULL;
}

/* @return 1 when the line is one of ours, and says something that a configuration could say */
static int read_line(apr_pool_t *p, char *line, gate_change_t *c)
{
    char *field[FIELDS], *rest = line;
    uint64_t what, weight, configured, flags, connections, admin, deadline, at;
    int n;

    for (n = 0; n < FIELDS && rest; n++) {
        field[n] = strsep(&rest, "\t");
    }
    if (n < FIELDS || rest || gate_parse_name(p, field[0]) || gate_parse_name(p, field[1])) {
        return 0;
    }
    if (!number(p, field[2], WHAT_MAX, &what) || !number(p, field[4], 1000, &weight) || !number(p, field[5], 1000, &configured)
        || !number(p, field[6], UINT32_MAX, &flags) || !number(p, field[7], 1000000, &connections)
        || !number(p, field[8], GATE_VERDICT_ADMIN, &admin) || !number(p, field[9], INT64_MAX, &deadline)
        || !number(p, field[10], INT64_MAX, &at)) {
        return 0;
    }
    if (!what || admin == GATE_VERDICT_ADMIN || !weight
        || changes_check(field[1], field[3], (uint32_t)configured, (uint32_t)flags & ~CHANGES_OF_DISCOVERY) != APR_SUCCESS) {
        return 0;
    }
    memset(c, 0, sizeof *c);
    c->what = (uint32_t)what;
    c->weight = (uint32_t)weight;
    c->weight_configured = (uint32_t)configured;
    c->flags = (uint32_t)flags;
    c->connections = (uint32_t)connections;
    c->admin = (uint32_t)admin;
    c->deadline_wall_usec = (int64_t)deadline;
    c->at_wall_usec = (int64_t)at;
    apr_cpystrn(c->group, field[0], sizeof c->group);
    apr_cpystrn(c->id, field[1], sizeof c->id);
    apr_cpystrn(c->url, field[3], sizeof c->url);
    apr_cpystrn(c->who, clean(p, field[11]), sizeof c->who);
    return 1;
}

const char *gate_changes_load(gate_changes_t *changes, apr_pool_t *p, const char *text, size_t len)
{
    char *rest = apr_pstrmemdup(p, text, len), *line;
    uint32_t number_of_line = 0, first_bad = 0, bad = 0, no_room = 0;
    gate_change_t c;

    if (memchr(text, '\0', len)) {
        return "is not text";
    }
    if (changes_lock(changes) != APR_SUCCESS) {
        return "could not be entered: the table of changes is locked";
    }
    while ((line = strsep(&rest, "\n")) != NULL) {
        number_of_line++;
        if (!*line) {
            continue;
        }
        if (!read_line(p, line, &c)) {
            first_bad = bad++ ? first_bad : number_of_line;
        }
        else if (changes_put_locked(changes, &c) != APR_SUCCESS) {
            no_room++;
        }
    }
    changes_unlock(changes);
    if (bad) {
        return apr_psprintf(p, "has %u lines that make no sense (line %u is the first): these changes are not made again", bad, first_bad);
    }
    return no_room ? apr_psprintf(p, "has %u changes too many", no_room) : NULL;
}

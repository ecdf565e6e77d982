/* header_ops.c - see header_ops.h. */
#include <string.h>
#include <strings.h>

#include <apr_strings.h>

#include "eligible_table.h"
#include "header_ops.h"

#define WORD_BYTES 8192

/* ---- reading ---------------------------------------------------------------------------------------------------------------- */

/* Fields that frame or route a message: changing them means more than changing a line. */
static int is_special(const char *name, int request)
{
    static const char both[] = " connection content-length keep-alive te trailer transfer-encoding upgrade ";
    static const char requests[] = " expect host max-forwards proxy-authorization proxy-connection range if-range via ";
    static const char answers[] = " content-range set-cookie2 ";
    char word[64];

    return apr_snprintf(word, sizeof word, " %s ", name) < (int)sizeof word
           && (strcasestr(both, word) || strcasestr(request ? requests : answers, word));
}

/* mod_headers makes what stands after % or a backslash; %% alone is plain. @return 0: it is computed */
static int make_literal(char *value)
{
    char *from = value, *to = value;

    if (strncmp(value, "expr=", 5) == 0 || strchr(value, '\\')) {
        return 0;
    }
    while (*from) {
        if (*from == '%' && *++from != '%') {
            return 0;
        }
        *to++ = *from++;
    }
    *to = '\0';
    return 1;
}

/* @return 0: none of ours */
static int parse_action(const char *word, header_op_e *op)
{
    static const struct {
        const char *word;
        header_op_e op;
    } actions[] = {
        { "set", HEADER_SET }, { "setifempty", HEADER_SETIFEMPTY }, { "add", HEADER_ADD },
        { "append", HEADER_APPEND }, { "merge", HEADER_MERGE }, { "unset", HEADER_UNSET }
    };
    size_t i;

    for (i = 0; i < sizeof actions / sizeof *actions; i++) {
        if (strcasecmp(word, actions[i].word) == 0) {
            *op = actions[i].op;
            return 1;
        }
    }
    return 0;
}

/* The words after the field's name: value, condition. */
static const char *parse_rest(apr_pool_t *p, const char *args, header_op_t *op, int *computed)
{
    char word[WORD_BYTES];
    int len;

    if (strcasestr(args, "REMOTE_HOST")) {
        return "it looks up the client's name";
    }
    if (!*computed && op->op != HEADER_UNSET) {
        len = eligible_next_word(&args, word, sizeof word);
        if (len >= 0 && len < (int)sizeof word - 1 && make_literal(word)) {
            op->value = apr_pstrdup(p, word);
            op->value_len = (uint32_t)strlen(word);
        }
        else {
            *computed = 1;
        }
    }
    while (eligible_next_word(&args, word, sizeof word) >= 0) {
        op->early = strcasecmp(word, "early") == 0;
        if (op->early && op->of == HEADER_OF_REQUEST && op->op == HEADER_UNSET && !*computed) {
            continue; /* "unset Proxy early": it may be done again and again */
        }
        if (op->early) {
            return "it comes early";
        }
        *computed = 1; /* a condition, or a replacement */
    }
    return NULL;
}

const char *header_op_parse(apr_pool_t *p, const char *args, int request, header_op_t *op, int *computed)
{
    char word[WORD_BYTES];
    int len;

    memset(op, 0, sizeof *op);
    *computed = 0;
    op->of = request ? HEADER_OF_REQUEST : HEADER_OF_ANSWER;
    len = eligible_next_word(&args, word, sizeof word);
    if (!request && len > 0 && (strcasecmp(word, "always") == 0 || strcasecmp(word, "onsuccess") == 0)) {
        op->of = strcasecmp(word, "always") == 0 ? HEADER_OF_ANSWER_ALWAYS : HEADER_OF_ANSWER;
        len = eligible_next_word(&args, word, sizeof word);
    }
    if (len <= 0) {
        return "it has no action";
    }
    *computed = !parse_action(word, &op->op);
    len = eligible_next_word(&args, word, sizeof word);
    if (len <= 0 || len > 200) {
        return "its field has no name, or a very long one";
    }
    word[strcspn(word, ":")] = '\0';
    if (is_special(word, request)) {
        return "it changes a field that means more than its line";
    }
    op->name = apr_pstrdup(p, word);
    op->name_len = (uint32_t)strlen(word);
    op->known = (uint8_t)field_of(word, op->name_len);
    if (op->known == FIELD_CONTENT_TYPE && !request) {
        *computed = 1; /* it is more than a line to httpd */
    }
    return parse_rest(p, args, op, computed);
}

header_ops_t *header_ops_create(apr_pool_t *p)
{
    return apr_pcalloc(p, sizeof(header_ops_t));
}

void header_ops_add(apr_pool_t *p, header_ops_t *ops, const header_op_t *op)
{
    if (ops->count == ops->size) {
        header_op_t *more = apr_palloc(p, (ops->size + 8) * sizeof *more);

        if (ops->count) {
            memcpy(more, ops->op, ops->count * sizeof *more);
        }
        ops->op = more;
        ops->size += 8;
    }
    if (op->early) {
        memmove(ops->op + 1, ops->op, ops->count * sizeof *ops->op);
    }
    ops->op[op->early ? 0 : ops->count] = *op;
    ops->count++;
}

/* ---- doing ------------------------------------------------------------------------------------------------------------------ */

static int is_of(const field_t *f, const header_op_t *op)
{
    return f->known == op->known && f->name.len == op->name_len && (f->known != FIELD_OTHER || strncasecmp(f->name.at, op->name, op->name_len) == 0);
}

/* @return the first line of that name, or -1 */
static int find(const fields_t *fields, const header_op_t *op)
{
    uint32_t i;

    for (i = 0; i < fields->count; i++) {
        if (is_of(&fields->field[i], op)) {
            return (int)i;
        }
    }
    return -1;
}

/* Takes lines of that name out, from index `from` on. */
static void drop(fields_t *fields, const header_op_t *op, uint32_t from)
{
    uint32_t i, kept = from;

    for (i = from; i < fields->count; i++) {
        if (!is_of(&fields->field[i], op)) {
            fields->field[kept++] = fields->field[i];
        }
    }
    fields->count = kept;
}

static void put(fields_t *fields, const header_op_t *op, uint32_t room)
{
    field_t *f;

    if (fields->count == room) {
        return;
    }
    f = &fields->field[fields->count++];
    memset(f, 0, sizeof *f);
    f->name = (span_t){ op->name, op->name_len };
    f->value = (span_t){ op->value, op->value_len };
    f->known = op->known;
}

static void join(field_t *f, const header_op_t *op, apr_pool_t *p)
{
    uint32_t len = f->value.len + 2 + op->value_len;
    char *both = apr_palloc(p, len + 1);

    memcpy(both, f->value.at, f->value.len);
    memcpy(both + f->value.len, ", ", 2);
    memcpy(both + f->value.len + 2, op->value, op->value_len + 1);
    f->value = (span_t){ both, len };
}

/* In a request, lines of one name are one to httpd before anybody looks at them. */
static void fold(fields_t *fields, const header_op_t *op, uint32_t at, apr_pool_t *p)
{
    uint32_t i;

    for (i = at + 1; i < fields->count; i++) {
        if (is_of(&fields->field[i], op)) {
            header_op_t more = { .value = apr_pstrmemdup(p, fields->field[i].value.at, fields->field[i].value.len),
                                 .value_len = fields->field[i].value.len };

            join(&fields->field[at], &more, p);
        }
    }
    drop(fields, op, at + 1);
}

/* Is the operation's value one of a list's members? Members end at commas outside of quotes; white space before one does not count. */
static int is_member(const span_t *list, const header_op_t *op)
{
    const char *at = list->at, *end = at + list->len, *start;

    while (at < end) {
        while (at < end && (*at == ' ' || *at == '\t')) {
            at++;
        }
        start = at;
        while (at < end && *at != ',') {
            if (*at++ == '"') {
                while (at < end && *at++ != '"') {
                }
            }
        }
        if ((size_t)(at - start) == op->value_len && memcmp(start, op->value, op->value_len) == 0) {
            return 1;
        }
        if (at < end) {
            at++;
        }
    }
    return 0;
}

static void apply_one(fields_t *fields, const header_op_t *op, uint32_t room, apr_pool_t *p)
{
    int at = find(fields, op);

    if (at >= 0 && op->of == HEADER_OF_REQUEST && (op->op == HEADER_APPEND || op->op == HEADER_MERGE)) {
        fold(fields, op, (uint32_t)at, p);
    }
    switch (op->op) {
    case HEADER_UNSET:
        if (at >= 0) {
            drop(fields, op, (uint32_t)at);
        }
        return;
    case HEADER_SET:
        if (at >= 0) {
            fields->field[at].value = (span_t){ op->value, op->value_len };
            drop(fields, op, (uint32_t)at + 1);
            return;
        }
        break;
    case HEADER_SETIFEMPTY:
        if (at >= 0) {
            return;
        }
        break;
    case HEADER_MERGE:
        if (at >= 0) {
            if (!is_member(&fields->field[at].value, op)) {
                join(&fields->field[at], op, p);
            }
            return;
        }
        break;
    case HEADER_APPEND:
        if (at >= 0) {
            join(&fields->field[at], op, p);
            return;
        }
        break;
    case HEADER_ADD:
        break;
    }
    put(fields, op, room);
}

static void index_known(fields_t *fields)
{
    uint32_t i;

    fields->repeated = 1;
    memset(fields->first, 0, sizeof fields->first);
    for (i = fields->count; i-- > 0;) {
        if (fields->field[i].known != FIELD_OTHER) {
            fields->first[fields->field[i].known] = (uint16_t)(i + 1);
        }
    }
}

void header_ops_apply(const header_ops_t *ops, const fields_t *in, fields_t *out, apr_pool_t *p)
{
    uint32_t before = in ? in->count : 0, room = before + ops->count, i;
    field_t *lines;

    if (room > MESSAGE_FIELDS_MAX) {
        room = MESSAGE_FIELDS_MAX;
    }
    lines = apr_palloc(p, (room ? room : 1) * sizeof *lines);
    if (before) {
        memcpy(lines, in->field, before * sizeof *lines);
        *out = *in;
    }
    else {
        memset(out, 0, sizeof *out);
    }
    out->field = lines;
    out->count = before;
    for (i = 0; i < ops->count; i++) {
        apply_one(out, &ops->op[i], room, p);
    }
    index_known(out);
}

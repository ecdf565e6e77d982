/*
 * exchange_answer_head.c - a member's answer head, made what httpd's proxy and header filter would send of it. What every answer needs (Date
 * and Server in front, hop-by-hop fields left out, Vary folded) is done by the codec as it writes; here is what only some need, so that
 * most heads are handed on as they are.
 * Order, as httpd's tables give it: what is always sent (a GateSticky cookie, Header always), the member's fields, Via, the member's cookies.
 */
#include <httpd.h>
#include <http_core.h>
#include <http_protocol.h>

#include <apr_strings.h>

#include "exchange_inside.h"
#include "header_ops.h"
#include "route.h"

#define EXTRA_FIELDS 4

static span_t span_of(const char *text)
{
    return (span_t){ text, (uint32_t)strlen(text) };
}

static void add(fields_t *fields, field_e known, span_t name, span_t value)
{
    field_t *field = &fields->field[fields->count++];

    field->name = name;
    field->value = value;
    field->known = (uint8_t)known;
    field->hop = 0;
    if (!fields->first[known] && known != FIELD_OTHER) {
        fields->first[known] = (uint16_t)fields->count;
    }
    else {
        fields->repeated = 1;
    }
}

static void make_room(exchange_t *x, fields_t *fields, uint32_t count)
{
    memset(fields, 0, sizeof *fields);
    fields->field = apr_palloc(x->pool, count * sizeof *fields->field);
}

/* ---- what names the member -------------------------------------------------------------------------------------------------- */

static int names_member(const field_t *field)
{
    switch (field->known) {
    case FIELD_LOCATION:
    case FIELD_CONTENT_LOCATION:
    case FIELD_REFRESH:
    case FIELD_SET_COOKIE:
        return 1;
    case FIELD_OTHER:
        return (field->name.len == 3 && span_is(field->name, "URI")) || (field->name.len == 11 && span_is(field->name, "Destination"));
    default:
        return 0;
    }
}

static span_t turned(exchange_t *x, const field_t *field)
{
    const char *name = apr_pstrmemdup(x->pool, field->name.at, field->name.len);
    const char *value = apr_pstrmemdup(x->pool, field->value.at, field->value.len);
    const char *mapped = x->route->reverses ? route_reverse(x->route, exchange_request(x), name, value) : value;
    const char *other = x->errand && x->try ? exchange_upstream->turn(x->errand, name, mapped) : mapped;

    return other == value ? field->value : span_of(other);
}

/* ---- Via ---------------------------------------------------------------------------------------------------------------------- */

const char *exchange_via(const exchange_t *x)
{
    const request_head_t *head = x->head;
    char port[16] = "";

    if (x->view.port != (strcmp(x->view.scheme, "https") == 0 ? DEFAULT_HTTPS_PORT : DEFAULT_HTTP_PORT)) {
        apr_snprintf(port, sizeof port, ":%u", x->view.port);
    }
    return x->route->via == via_full
               ? apr_psprintf(x->pool, "%d.%d %s%s (%s)", head->major, head->minor, x->server->server_hostname, port, AP_SERVER_BASEVERSION)
               : apr_psprintf(x->pool, "%d.%d %s%s", head->major, head->minor, x->server->server_hostname, port);
}

/* ---- the list ----------------------------------------------------------------------------------------------------------------- */

static int adds_via(const exchange_t *x)
{
    return x->route->via == via_on || x->route->via == via_full;
}

static int wants_type(const exchange_t *x, const answer_head_t *head)
{
    return x->content_type && !head->fields.first[FIELD_CONTENT_TYPE] && head->status >= 200 && head->status != 204 && head->status != 304;
}

static int stays_as_it_is(const exchange_t *x, const answer_head_t *head)
{
    const fields_t *fields = &head->fields;
    uint32_t i;

    if (adds_via(x) || wants_type(x, head)) {
        return 0;
    }
    for (i = 0; i < fields->count; i++) {
        if (names_member(&fields->field[i])) {
            return 0;
        }
    }
    return 1;
}

static void add_members(exchange_t *x, const answer_head_t *head, fields_t *out)
{
    const fields_t *in = &head->fields;
    int cookies = in->first[FIELD_SET_COOKIE] != 0;
    uint32_t i;

    for (i = 0; i < in->count; i++) {
        const field_t *field = &in->field[i];

        if (field->known != FIELD_SET_COOKIE && (!field->hop || head->status == 101)) {
            add(out, field->known, field->name, names_member(field) ? turned(x, field) : field->value);
        }
    }
    for (i = 0; cookies && i < in->count; i++) {
        if (in->field[i].known == FIELD_SET_COOKIE && !in->field[i].hop) {
            add(out, FIELD_SET_COOKIE, in->field[i].name, turned(x, &in->field[i]));
        }
    }
    if (adds_via(x)) {
        add(out, FIELD_VIA, span_of("Via"), span_of(exchange_via(x)));
    }
    if (wants_type(x, head)) {
        add(out, FIELD_CONTENT_TYPE, span_of("Content-Type"), span_of(x->content_type));
    }
}

/* HTTP/2 has no words for a status: httpd's. */
static const answer_head_t *named(exchange_t *x, const answer_head_t *head)
{
    answer_head_t *dressed;
    const char *line;

    if (head->reason.at || head->major != 2) {
        return head;
    }
    line = ap_get_status_line(head->status);
    dressed = apr_pmemdup(x->pool, head, sizeof *head);
    dressed->reason = span_of(atoi(line) == head->status ? line + 4 : head->status == 103 ? "Early Hints" : "");
    return dressed;
}

const answer_head_t *exchange_answer_dress(exchange_t *x, const answer_head_t *head)
{
    answer_head_t *dressed;

    if (!x->errand) {
        return head; /* a stored one, which was dressed when it came */
    }
    if (x->try && head->status >= 200) {
        x->sticky_cookie = exchange_upstream->cookie(x->errand);
    }
    head = named(x, head);
    if (stays_as_it_is(x, head)) {
        return head;
    }
    dressed = apr_pmemdup(x->pool, head, sizeof *head);
    make_room(x, &dressed->fields, head->fields.count + EXTRA_FIELDS);
    add_members(x, head, &dressed->fields);
    return dressed;
}

/* ---- Header, and what is always sent ------------------------------------------------------------------------------------------- */

/* One table laid over the other: the lines of both, the first ones in front. */
static void join(exchange_t *x, const fields_t *first, const fields_t *rest, fields_t *out)
{
    uint32_t i;

    make_room(x, out, first->count + rest->count + 1);
    for (i = 0; i < first->count; i++) {
        add(out, first->field[i].known, first->field[i].name, first->field[i].value);
    }
    for (i = 0; i < rest->count; i++) {
        add(out, rest->field[i].known, rest->field[i].name, rest->field[i].value);
        out->field[out->count - 1].hop = rest->field[i].hop;
    }
}

/* What httpd keeps in err_headers_out. */
static void always(exchange_t *x, fields_t *out)
{
    const char *policy, *state;

    make_room(x, out, 3);
    if (exchange_admit_fields(x, &policy, &state)) {
        add(out, FIELD_OTHER, span_of("RateLimit-Policy"), span_of(policy));
        add(out, FIELD_OTHER, span_of("RateLimit"), span_of(state));
    }
    if (x->sticky_cookie) {
        add(out, FIELD_SET_COOKIE, span_of("Set-Cookie"), span_of(x->sticky_cookie));
    }
    if (x->route->always_headers && !x->output_cuts) {
        fields_t before = *out;

        header_ops_apply(x->route->always_headers, &before, out, x->pool);
    }
}

const answer_head_t *exchange_answer_finish(exchange_t *x, const answer_head_t *head)
{
    const char *policy, *state;
    answer_head_t *dressed;
    fields_t first;

    if (head->lines.at || head->status < 200 || x->own_page || (!x->route->answer_headers && !x->route->always_headers && !x->sticky_cookie
                                                  && !exchange_admit_fields(x, &policy, &state))) {
        return head;
    }
    dressed = apr_pmemdup(x->pool, head, sizeof *head);
    if (x->route->answer_headers && !x->output_cuts) {
        header_ops_apply(x->route->answer_headers, &head->fields, &dressed->fields, x->pool);
    }
    always(x, &first);
    if (first.count) {
        fields_t rest = dressed->fields;

        join(x, &first, &rest, &dressed->fields);
    }
    return dressed;
}

/* admin_request.c - see admin_request.h. */

#include <string.h>
#include <strings.h>

#include <apr_lib.h>
#include <apr_strings.h>
#include <jansson.h>

#include "admin_request.h"
#include "gate_parse.h"

static apr_status_t free_json(void *json)
{
    json_decref(json);
    return APR_SUCCESS;
}

/* A JSON object that lives as long as p. */
static const char *read_object(apr_pool_t *p, const char *text, size_t len, json_t **out)
{
    json_error_t error;

    if (len == 0) {
        text = "{}";
        len = 2;
    }
    *out = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
    if (!*out) {
        return apr_psprintf(p, "the body is no JSON: %s (line %d, column %d)", error.text, error.line, error.column);
    }
    apr_pool_cleanup_register(p, *out, free_json, apr_pool_cleanup_null);
    return json_is_object(*out) ? NULL : "the body must be a JSON object";
}

/* ---- members ---- */

static const char *text_of(apr_pool_t *p, const char *key, json_t *value, const char **out)
{
    if (!json_is_string(value)) {
        return apr_psprintf(p, "%s must be a text", key);
    }
    *out = json_string_value(value);
    return NULL;
}

static const char *uint_of(apr_pool_t *p, const char *key, json_t *value, json_int_t min, json_int_t max, uint32_t *out)
{
    if (!json_is_integer(value) || json_integer_value(value) < min || json_integer_value(value) > max) {
        return apr_psprintf(p, "%s must be a whole number from %d to %d", key, (int)min, (int)max);
    }
    *out = (uint32_t)json_integer_value(value);
    return NULL;
}

static const char *set_url(apr_pool_t *p, const char *key, json_t *value, admin_member_t *m)
{
    const char *text = "", *err = text_of(p, key, value, &text), *host;
    gate_url_t url;

    m->given |= ADMIN_URL;
    if (err) {
        return err;
    }
    err = gate_parse_member_url(p, text, &url);
    if (err) {
        return apr_psprintf(p, "url: '%s' %s", text, err);
    }
    host = url.host ? url.host : "";
    if (strncmp(host, "169.254.", 8) == 0 || strncasecmp(host, "fe8", 3) == 0 || strncasecmp(host, "fe9", 3) == 0
        || strncasecmp(host, "fea", 3) == 0 || strncasecmp(host, "feb", 3) == 0 || strstr(host, "::ffff:169.254.")
        || strcasecmp(host, "metadata.google.internal") == 0) {
        if (strchr(host, ':') || strncmp(host, "fe", 2) != 0) {
            return apr_psprintf(p, "url: '%s' leads to a link-local address, where the host's or the cloud's own services lie; if a "
                                "member really is there, it belongs into the configuration", text);
        }
    }
    m->spec.url = text;
    return NULL;
}

static const char *set_id(apr_pool_t *p, const char *key, json_t *value, admin_member_t *m)
{
    const char *err = text_of(p, key, value, &m->spec.id);

    m->given |= ADMIN_ID;
    if (!err) {
        err = gate_parse_name(p, m->spec.id);
        err = err ? apr_psprintf(p, "id: '%s' %s", m->spec.id, err) : NULL;
    }
    return err;
}

static const char *set_weight(apr_pool_t *p, const char *key, json_t *value, admin_member_t *m)
{
    m->given |= ADMIN_WEIGHT;
    return uint_of(p, key, value, 1, 1000, &m->spec.weight);
}

static const char *set_connections(apr_pool_t *p, const char *key, json_t *value, admin_member_t *m)
{
    m->given |= ADMIN_CONNECTIONS;
    return uint_of(p, key, value, 0, 1000000, &m->spec.connections);
}

static const char *set_backup(apr_pool_t *p, const char *key, json_t *value, admin_member_t *m)
{
    m->given |= ADMIN_BACKUP;
    if (!json_is_boolean(value)) {
        return apr_psprintf(p, "%s must be true or false", key);
    }
    m->spec.flags = json_is_true(value) ? GATE_MEMBER_BACKUP : 0;
    return NULL;
}

static const char *set_state(apr_pool_t *p, const char *key, json_t *value, admin_member_t *m)
{
    const char *text = "", *err = text_of(p, key, value, &text);

    m->given |= ADMIN_STATE;
    if (err) {
        return err;
    }
    if (strcmp(text, "up") == 0) {
        m->spec.verdict = 0;
    }
    else if (strcmp(text, "drain") == 0) {
        m->spec.verdict = GATE_VERDICT_DRAIN;
    }
    else if (strcmp(text, "disabled") == 0) {
        m->spec.verdict = GATE_VERDICT_DISABLED;
    }
    else {
        return apr_psprintf(p, "state: '%s' is none of up, drain, disabled", text);
    }
    return NULL;
}

static const char *set_deadline(apr_pool_t *p, const char *key, json_t *value, admin_member_t *m)
{
    m->given |= ADMIN_DEADLINE;
    return uint_of(p, key, value, 1, 604800, &m->deadline_s);
}

static const struct {
    const char *key;
    unsigned bit;
    const char *(*set)(apr_pool_t *p, const char *key, json_t *value, admin_member_t *m);
} fields[] = { { "url", ADMIN_URL, set_url },          { "id", ADMIN_ID, set_id },
               { "weight", ADMIN_WEIGHT, set_weight }, { "state", ADMIN_STATE, set_state },
               { "backup", ADMIN_BACKUP, set_backup }, { "connections", ADMIN_CONNECTIONS, set_connections },
               { "deadline_s", ADMIN_DEADLINE, set_deadline } };

#define FIELDS (sizeof fields / sizeof *fields)

static const char *take_fields(apr_pool_t *p, json_t *object, unsigned allowed, const char *known, admin_member_t *out)
{
    const char *key, *err;
    json_t *value;

    memset(out, 0, sizeof *out);
    out->spec.weight = 1;
    json_object_foreach(object, key, value) {
        size_t i = 0;

        while (i < FIELDS && strcmp(fields[i].key, key) != 0) {
            i++;
        }
        if (i == FIELDS || !(fields[i].bit & allowed)) {
            return apr_psprintf(p, "'%s' is no field here; there are %s", key, known);
        }
        err = fields[i].set(p, key, value, out);
        if (err) {
            return err;
        }
    }
    return NULL;
}

const char *admin_member_new(apr_pool_t *p, const char *json, size_t len, admin_member_t *out)
{
    json_t *object;
    const char *err = read_object(p, json, len, &object);

    if (!err) {
        err = take_fields(p, object, ~(unsigned)ADMIN_DEADLINE, "url, id, weight, state, backup, connections", out);
    }
    if (!err && !(out->given & ADMIN_URL)) {
        err = "url is missing: where the member is, such as http://10.0.0.5:8080";
    }
    return err;
}

const char *admin_member_patch(apr_pool_t *p, const char *json, size_t len, admin_member_t *out)
{
    json_t *object;
    const char *err = read_object(p, json, len, &object);

    if (!err) {
        err = take_fields(p, object, ADMIN_STATE | ADMIN_WEIGHT | ADMIN_DEADLINE,
                          "state, weight and deadline_s (for another url, add another member)", out);
    }
    if (!err && !(out->given & (ADMIN_STATE | ADMIN_WEIGHT))) {
        err = "nothing to change: give state or weight";
    }
    if (!err && (out->given & ADMIN_DEADLINE) && !(out->spec.verdict & GATE_VERDICT_DRAIN)) {
        err = "deadline_s is how long a drain may take: it needs state drain";
    }
    return err;
}

/* ---- actions of sections ---- */

static const gate_param_t *find_param(const gate_param_t *params, const char *name)
{
    for (; params && params->name; params++) {
        if (strcmp(params->name, name) == 0) {
            return params;
        }
    }
    return NULL;
}

static const char *unknown_param(apr_pool_t *p, const gate_param_t *params, const char *name)
{
    const char *known = "";

    for (const gate_param_t *q = params; q && q->name; q++) {
        known = apr_pstrcat(p, known, *known ? ", " : "", q->name, NULL);
    }
    return *known ? apr_psprintf(p, "'%s' is no parameter here; there are %s", name, known)
                  : apr_psprintf(p, "'%s' is no parameter here; there are none", name);
}

static int is_choice(const char *choices, const char *text)
{
    size_t len = strlen(text);

    for (const char *at = choices; at; at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL) {
        if (strcspn(at, "|") == len && memcmp(at, text, len) == 0) {
            return 1;
        }
    }
    return 0;
}

/* Text of a value as it goes into the table. */
static const char *take_text(apr_pool_t *p, const gate_param_t *param, const char *text, apr_table_t *out)
{
    uint64_t number;
    const char *err;

    if (param->kind == GATE_PARAM_NUMBER && (err = gate_parse_uint(p, text, 0, INT64_MAX, &number)) != NULL) {
        return apr_psprintf(p, "%s: '%s' %s", param->name, text, err);
    }
    if (param->kind == GATE_PARAM_FLAG) {
        if (strcmp(text, "1") != 0 && strcmp(text, "0") != 0 && strcmp(text, "true") != 0 && strcmp(text, "false") != 0) {
            return apr_psprintf(p, "%s must be true or false", param->name);
        }
        text = *text == '1' || *text == 't' ? "1" : "0";
    }
    if (param->choices && !is_choice(param->choices, text)) {
        return apr_psprintf(p, "%s: '%s' is none of %s", param->name, text, param->choices);
    }
    apr_table_addn(out, param->name, apr_pstrdup(p, text));
    return NULL;
}

static const char *take_json(apr_pool_t *p, const gate_param_t *param, json_t *value, apr_table_t *out)
{
    const char *err = NULL;
    json_t *one;
    size_t i;

    if (json_is_string(value) && param->kind != GATE_PARAM_NUMBER && param->kind != GATE_PARAM_FLAG) {
        return take_text(p, param, json_string_value(value), out);
    }
    if (json_is_integer(value) && param->kind == GATE_PARAM_NUMBER) {
        return take_text(p, param, apr_psprintf(p, "%" APR_INT64_T_FMT, (apr_int64_t)json_integer_value(value)), out);
    }
    if (json_is_boolean(value) && param->kind == GATE_PARAM_FLAG) {
        return take_text(p, param, json_is_true(value) ? "1" : "0", out);
    }
    if (json_is_array(value) && param->kind == GATE_PARAM_TEXTS) {
        json_array_foreach(value, i, one) {
            if (!json_is_string(one)) {
                return apr_psprintf(p, "%s must be a list of texts", param->name);
            }
            err = err ? err : take_text(p, param, json_string_value(one), out);
        }
        return err;
    }
    return apr_psprintf(p, "%s must be a %s", param->name,
                        param->kind == GATE_PARAM_TEXT ? "text" : param->kind == GATE_PARAM_NUMBER ? "whole number, not negative"
                        : param->kind == GATE_PARAM_FLAG ? "true or false" : "text or a list of texts");
}

static const char *required(apr_pool_t *p, const gate_param_t *params, const apr_table_t *got)
{
    for (; params && params->name; params++) {
        if (params->required && !apr_table_get(got, params->name)) {
            return apr_psprintf(p, "%s is missing: %s", params->name, params->help ? params->help : "");
        }
    }
    return NULL;
}

const char *admin_params_json(apr_pool_t *p, const char *json, size_t len, const gate_param_t *params, apr_table_t **out)
{
    json_t *object, *value;
    const char *key, *err = read_object(p, json, len, &object);

    *out = apr_table_make(p, 4);
    if (err) {
        return err;
    }
    json_object_foreach(object, key, value) {
        const gate_param_t *param = find_param(params, key);

        err = param ? take_json(p, param, value, *out) : unknown_param(p, params, key);
        if (err) {
            return err;
        }
    }
    return required(p, params, *out);
}

/* In place. @return 0, or -1 for a broken escape */
static int unescape(char *text)
{
    char *to = text;

    for (; *text; text++) {
        if (*text == '+') {
            *to++ = ' ';
        }
        else if (*text != '%') {
            *to++ = *text;
        }
        else if (apr_isxdigit(text[1]) && apr_isxdigit(text[2])) {
            char hex[3] = { text[1], text[2], '\0' };
            char c = (char)strtol(hex, NULL, 16);

            if (!c) {
                return -1;
            }
            *to++ = c;
            text += 2;
        }
        else {
            return -1;
        }
    }
    *to = '\0';
    return 0;
}

const char *admin_params_query(apr_pool_t *p, const char *query, const gate_param_t *params, apr_table_t **out)
{
    char *rest = apr_pstrdup(p, query ? query : ""), *pair;
    const char *err;

    *out = apr_table_make(p, 4);
    while ((pair = apr_strtok(rest, "&", &rest)) != NULL) {
        char *value = strchr(pair, '=');
        const gate_param_t *param;

        if (!value) {
            return apr_psprintf(p, "'%s' has no value", pair);
        }
        *value++ = '\0';
        if (unescape(pair) != 0 || unescape(value) != 0) {
            return "the query has a broken %-escape";
        }
        param = find_param(params, pair);
        if (!param) {
            return unknown_param(p, params, pair);
        }
        if (param->kind != GATE_PARAM_TEXTS && apr_table_get(*out, pair)) {
            return apr_psprintf(p, "%s is given twice", pair);
        }
        err = take_text(p, param, value, *out);
        if (err) {
            return err;
        }
    }
    return required(p, params, *out);
}

/* ---- If-Match ---- */

int admin_if_match(const char *if_match, const char *tag)
{
    size_t len = strlen(tag);

    if (!if_match) {
        return 1;
    }
    for (const char *at = if_match; *at;) {
        at += strspn(at, " \t,");
        if (*at == '*' && strspn(at + 1, " \t,") == strlen(at + 1)) {
            return 1;
        }
        if (*at == '"' && strncmp(at + 1, tag, len) == 0 && at[len + 1] == '"') {
            return 1;
        }
        at += strcspn(at, ",");
    }
    return 0;
}

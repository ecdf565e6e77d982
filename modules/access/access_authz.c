/*
 * access_authz.c - Require gate-set and Require gate-country: authorization providers, so they work inside RequireAny and its kin.
 * A client whose address is not known is in no set and in no country.
 */
#include <ap_provider.h>
#include <apr_lib.h>
#include <http_core.h>
#include <http_request.h>
#include <mod_auth.h>

#include "access.h"

gate_geo_t *access_geo;

static const char *parse_sets(cmd_parms *cmd, const char *line, const void **parsed)
{
    access_names_t *names = access_names_create(cmd->pool, "Require gate-set",
                                                apr_psprintf(cmd->pool, "%s:%d", cmd->directive->filename, cmd->directive->line_num));
    const char *word;

    while (*(word = ap_getword_conf(cmd->pool, &line))) {
        APR_ARRAY_PUSH(names->names, const char *) = word;
    }
    *parsed = names;
    return names->names->nelts ? NULL : "Require gate-set: names no set";
}

static authz_status in_sets(request_rec *r, const char *line, const void *parsed)
{
    gate_address_t client = access_client(r);

    (void)line;
    if (access_names_find(parsed, &client, NULL)) {
        return AUTHZ_GRANTED;
    }
    access_note(r)->denied = 1;
    return AUTHZ_DENIED;
}

static const char *parse_countries(cmd_parms *cmd, const char *line, const void **parsed)
{
    apr_array_header_t *codes = apr_array_make(cmd->pool, 4, sizeof(const char *));
    const char *word;

    while (*(word = ap_getword_conf(cmd->pool, &line))) {
        if (strlen(word) != 2 || !apr_isalpha(word[0]) || !apr_isalpha(word[1])) {
            return apr_psprintf(cmd->pool, "Require gate-country: '%s' is not a country code of two letters (ISO 3166-1, such as DE)",
                                word);
        }
        APR_ARRAY_PUSH(codes, const char *) = word;
    }
    *parsed = codes;
    APR_ARRAY_PUSH(access_conf.countries, const char *) = apr_psprintf(cmd->pool, "%s:%d", cmd->directive->filename,
                                                                       cmd->directive->line_num);
    return codes->nelts ? NULL : "Require gate-country: names no country";
}

static authz_status in_countries(request_rec *r, const char *line, const void *parsed)
{
    const apr_array_header_t *codes = parsed;
    access_note_t *note = access_note(r);

    (void)line;
    if (!note->country) {
        gate_address_t client = access_client(r);
        char code[3] = "";

        note->country = access_geo && gate_geo_country(access_geo, &client, code) ? apr_pstrdup(r->pool, code) : "";
    }
    for (int i = 0; i < codes->nelts; i++) {
        if (ap_cstr_casecmp(note->country, APR_ARRAY_IDX(codes, i, const char *)) == 0) {
            return AUTHZ_GRANTED;
        }
    }
    note->denied = 1;
    return AUTHZ_DENIED;
}

static const authz_provider set_provider = { in_sets, parse_sets };
static const authz_provider country_provider = { in_countries, parse_countries };

void access_authz_register(apr_pool_t *p)
{
    ap_register_auth_provider(p, AUTHZ_PROVIDER_GROUP, "gate-set", AUTHZ_PROVIDER_VERSION, &set_provider, AP_AUTH_INTERNAL_PER_CONF);
    ap_register_auth_provider(p, AUTHZ_PROVIDER_GROUP, "gate-country", AUTHZ_PROVIDER_VERSION, &country_provider,
                              AP_AUTH_INTERNAL_PER_CONF);
}

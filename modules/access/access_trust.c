/*
 * access_trust.c - which addresses are trusted proxies: as mod_remoteip's directives say in any vhost. A ban must never catch one,
 * for behind it stand all its clients.
 */
#include <http_core.h>
#include <util_cfgtree.h>

#include "access.h"

static gate_ipset_builder_t *builder;
static void *image;
static size_t image_bytes;

static void add_word(const char *word, apr_pool_t *ptemp)
{
    gate_prefix_t prefix;
    const char *why;
    apr_sockaddr_t *sa = NULL;

    if (gate_prefix_parse(word, strlen(word), &prefix, &why) != GATE_PREFIX_BAD) {
        gate_ipset_builder_add(builder, &prefix, 0);
        return;
    }
    /* mod_remoteip takes names of hosts too */
    if (apr_sockaddr_info_get(&sa, word, APR_UNSPEC, 0, 0, ptemp) != APR_SUCCESS) {
        return;
    }
    for (; sa; sa = sa->next) {
        prefix.address = gate_address_of(sa);
        prefix.bits = gate_address_is_v4(&prefix.address) ? 32 : 128;
        if (prefix.address.known) {
            gate_ipset_builder_add(builder, &prefix, 0);
        }
    }
}

static void add_words(const char *args, apr_pool_t *ptemp)
{
    while (*args) {
        const char *word = ap_getword_conf(ptemp, &args);

        if (*word) {
            add_word(word, ptemp);
        }
    }
}

/* mod_remoteip's lists: addresses on lines, '#' begins a comment. */
static void add_list(const char *args, apr_pool_t *ptemp)
{
    const char *path = ap_server_root_relative(ptemp, ap_getword_conf(ptemp, &args));
    ap_configfile_t *file;
    char line[MAX_STRING_LEN];

    if (!path || ap_pcfg_openfile(&file, ptemp, path) != APR_SUCCESS) {
        return;
    }
    while (ap_cfg_getline(line, sizeof line, file) == APR_SUCCESS) {
        char *comment = strchr(line, '#');

        if (comment) {
            *comment = 0;
        }
        add_words(line, ptemp);
    }
    ap_cfg_closefile(file);
}

static void walk(const ap_directive_t *at, apr_pool_t *ptemp)
{
    for (; at; at = at->next) {
        if (ap_cstr_casecmp(at->directive, "RemoteIPInternalProxy") == 0
            || ap_cstr_casecmp(at->directive, "RemoteIPTrustedProxy") == 0) {
            add_words(at->args, ptemp);
        }
        else if (ap_cstr_casecmp(at->directive, "RemoteIPInternalProxyList") == 0
                 || ap_cstr_casecmp(at->directive, "RemoteIPTrustedProxyList") == 0) {
            add_list(at->args, ptemp);
        }
        walk(at->first_child, ptemp);
    }
}

void access_trust_read(apr_pool_t *pconf, apr_pool_t *ptemp)
{
    image = NULL;
    builder = gate_ipset_builder_create();
    if (!builder) {
        return;
    }
    walk(ap_conftree, ptemp);
    image_bytes = gate_ipset_builder_count(builder) ? gate_ipset_builder_finish(builder) : 0;
    if (image_bytes) {
        image = apr_palloc(pconf, image_bytes);
        gate_ipset_builder_write(builder, image);
    }
    gate_ipset_builder_destroy(builder);
    builder = NULL;
}

int access_trusted(const gate_address_t *address)
{
    return image && gate_ipset_find(image, image_bytes, address, NULL);
}

/*
 * member_tls.c - which virtual hosts may use one another's TLS connections to a member: those whose SSLProxy* directives are the same.
 * mod_ssl looks at the directives (whom to trust, which certificate to show) when it shakes hands, and not when a connection is used
 * again: so each virtual host that has such directives of its own has connections of its own, and the others have those of the main
 * server. Where some stand in a <Proxy>, which requests they hold for is known to mod_ssl only: there no connection is used twice.
 * Read from the tree of directives, in post_config; frozen after.
 */
#include <httpd.h>
#include <http_config.h>

#include "upstream.h"

typedef struct {
    int own;         /* SSLProxy* in the virtual host itself */
    int in_proxy;    /* .. in a <Proxy> there, or in the main server's */
} tls_words_t;

static apr_hash_t *words_of; /* tls_words_t by server_rec; NULL before the first configuration */

/* Every condition that stands in the tree has held. */
static int is_transparent(const char *name)
{
    return strncasecmp(name, "<If", 3) == 0 && name[3] != '\0';
}

static void read_level(tls_words_t *words, const ap_directive_t *d, int in_proxy)
{
    for (; d; d = d->next) {
        if (strncasecmp(d->directive, "SSLProxy", 8) == 0) {
            *(in_proxy ? &words->in_proxy : &words->own) = 1;
        }
        else if (is_transparent(d->directive)) {
            read_level(words, d->first_child, in_proxy);
        }
        else if (strncasecmp(d->directive, "<Proxy", 6) == 0) {
            read_level(words, d->first_child, 1);
        }
    }
}

static void read_vhost(tls_words_t *words, const server_rec *s, const ap_directive_t *d)
{
    for (; d; d = d->next) {
        if (is_transparent(d->directive)) {
            read_vhost(words, s, d->first_child);
        }
        else if (ap_cstr_casecmp(d->directive, "<VirtualHost") == 0 && s->defn_name && d->filename
                 && (unsigned)d->line_num == s->defn_line_number && strcmp(d->filename, s->defn_name) == 0) {
            read_level(words, d->first_child, 0);
        }
    }
}

static apr_status_t forget(void *unused)
{
    (void)unused;
    words_of = NULL;
    return APR_SUCCESS;
}

void upstream_member_tls_read(apr_pool_t *pconf, server_rec *main_server)
{
    tls_words_t *main_words = apr_pcalloc(pconf, sizeof *main_words);
    server_rec *s;

    words_of = apr_hash_make(pconf);
    apr_pool_cleanup_register(pconf, NULL, forget, apr_pool_cleanup_null);
    read_level(main_words, ap_conftree, 0);
    apr_hash_set(words_of, apr_pmemdup(pconf, &main_server, sizeof main_server), sizeof main_server, main_words);
    for (s = main_server->next; s; s = s->next) {
        tls_words_t *words = apr_pcalloc(pconf, sizeof *words);

        read_vhost(words, s, ap_conftree);
        words->own |= words->in_proxy;
        words->in_proxy |= main_words->in_proxy;
        apr_hash_set(words_of, apr_pmemdup(pconf, &s, sizeof s), sizeof s, words);
    }
}

int upstream_member_tls(const server_rec *s, const server_rec **whose)
{
    const tls_words_t *words = words_of ? apr_hash_get(words_of, &s, sizeof s) : NULL;

    *whose = words && !words->own ? NULL : s;
    return words && words->in_proxy;
}

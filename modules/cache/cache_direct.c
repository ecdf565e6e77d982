/*
 * cache_direct.c - a fresh answer that goes out as it is stored: found by what was found before (desk.h), written in one piece, past httpd's own
 * filters, which would do nothing to it. In the handler phase like every answer of the cache: access, authentication and all else have spoken.
 * Only where nobody can tell the difference: one filter more than httpd's own four (mod_headers, mod_deflate, ..), a field that another
 * module has set, a part, a condition that needs more than the entry knows, and the request goes the way of all others (cache_answer.c).
 *
 * Memory:  DESKS desks for all threads of a child, with about as much in them as one loop of the engine remembers.
 * Locking: each desk has a lock of this process. Nobody waits for it: who finds it taken goes the other way.
 */
#include "cache.h"

#include <string.h>
#include <apr_buckets.h>
#include <apr_thread_mutex.h>
#include <util_filter.h>

#include "desk.h"

APLOG_USE_MODULE(gate_cache);

#define DESKS 8
#define ENTRIES (GATE_DESK_ENTRIES / DESKS)
#define PLACES 32                 /* of each desk; a request of a further one goes the other way */
#define ODD_HEAD_BYTES 256        /* what ap_set_keepalive() adds */

typedef struct {
    gate_cache_place_t place;
    cache_dir_conf_t conf;
    const char *scheme;
} place_t;

typedef struct {
    apr_thread_mutex_t *lock;
    apr_pool_t *pool;
    gate_cache_desk_t *desk;
    place_t *places[PLACES];
    int count;
} counter_t;

static counter_t counters[DESKS];
static const ap_filter_rec_t *own_filters[4];

/* ---- start ------------------------------------------------------------------------------------------------------------------ */

void cache_direct_find_filters(void)
{
    static const char *const names[] = { "HTTP_HEADER", "BYTERANGE", "CONTENT_LENGTH", "HTTP_OUTERROR" };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        own_filters[i] = ap_get_output_filter_handle(names[i]);
    }
}

void cache_direct_start(apr_pool_t *pchild)
{
    for (int i = 0; i < DESKS; i++) {
        counter_t *at = &counters[i];

        if (apr_pool_create_unmanaged_ex(&at->pool, NULL, NULL) != APR_SUCCESS
            || apr_thread_mutex_create(&at->lock, APR_THREAD_MUTEX_DEFAULT, pchild) != APR_SUCCESS) {
            return;
        }
        apr_pool_tag(at->pool, "gate_direct");
        at->desk = cache_desk_make(at->pool, ENTRIES);
    }
}

/* ---- may it? ------------------------------------------------------------------------------------------------------------------ */

/* @return the filter behind those that httpd puts on every request; NULL: there are others */
static ap_filter_t *behind_own_filters(const request_rec *r)
{
    ap_filter_t *f = r->output_filters;
    int writes_head = 0;

    for (; f && f->frec->ftype < AP_FTYPE_CONNECTION; f = f->next) {
        if (f->frec == own_filters[0]) {
            writes_head = 1;
        }
        else if (f->frec != own_filters[1] && f->frec != own_filters[2] && f->frec != own_filters[3]) {
            return NULL;
        }
    }
    return writes_head ? f : NULL;
}

/* Variables that change how HTTP is spoken. */
static int spoken_otherwise(const request_rec *r)
{
    return !apr_is_empty_table(r->subprocess_env)
           && (apr_table_get(r->subprocess_env, "force-no-vary") || apr_table_get(r->subprocess_env, "force-response-1.0")
               || apr_table_get(r->subprocess_env, "downgrade-1.0"));
}

static int is_plain(const request_rec *r, const cache_dir_conf_t *conf)
{
    const core_dir_config *core = ap_get_core_module_config(r->per_dir_config);

    return r->method_number == M_GET && !r->header_only && !r->prev && !r->connection->master && !conf->bypass
           && !(conf->key && conf->key->expr) && r->handler && r->filename && !(r->path_info && *r->path_info)
           && core->add_default_charset != ADD_DEFAULT_CHARSET_ON && !r->no_cache && !r->expecting_100 && !r->status_line
           && !r->content_encoding && apr_is_empty_array(r->content_languages) && apr_is_empty_table(r->headers_out)
           && apr_is_empty_table(r->err_headers_out) && !spoken_otherwise(r) && !apr_table_get(r->notes, "no-etag")
           && !APLOG_R_IS_LEVEL(r, APLOG_TRACE3);
}

/* ---- the question ------------------------------------------------------------------------------------------------------------- */

typedef struct {
    request_rec *r;
    gate_view_t view;
} asker_t;

static const apr_table_t *headers_of(void *asker, apr_pool_t *p)
{
    (void)p;
    return ((asker_t *)asker)->r->headers_in;
}

static const gate_view_t *view_of(void *asker)
{
    return &((asker_t *)asker)->view;
}

static int set(gate_cache_text_t *text, const char *value)
{
    if (text->at) {
        return 0;
    }
    *text = (gate_cache_text_t){ value, (uint32_t)strlen(value) };
    return 1;
}

static int set_odd(gate_cache_ask_t *ask, const char *name, const char *value)
{
    if (ask->odd_n + 2 > 2 * GATE_CACHE_ODD_MAX) {
        return 0;
    }
    return set(&ask->odd[ask->odd_n++], name) && set(&ask->odd[ask->odd_n++], value);
}

/* @return 0: a field that only the long way knows what to do about */
static int read_field(gate_cache_ask_t *ask, const char *name, const char *value)
{
    switch (*name | 0x20) {
    case 'a':
        return strcasecmp(name, "Accept-Encoding") || set(&ask->encoding, value);
    case 'c':
        return !strcasecmp(name, "Cache-Control") ? set(&ask->control, value) : strcasecmp(name, "Content-Length") || !strcmp(value, "0");
    case 'p':
        return strcasecmp(name, "Pragma") || set(&ask->pragma, value);
    case 'i':
        if (!strcasecmp(name, "If-None-Match")) {
            return set(&ask->none_match, value);
        }
        return !strcasecmp(name, "If-Modified-Since") ? set(&ask->modified_since, value) : strncasecmp(name, "If-", 3) != 0;
    case 'r':
        return strcasecmp(name, "Range") && strcasecmp(name, "Request-Range");
    case 't':
        return strcasecmp(name, "Transfer-Encoding") != 0;
    case 'f':
    case 'x':
        return !gate_unkeyed(name, strlen(name)) || set_odd(ask, name, value);
    default:
        return 1;
    }
}

static int read_fields(const request_rec *r, gate_cache_ask_t *ask)
{
    const apr_array_header_t *all = apr_table_elts(r->headers_in);

    for (int i = 0; i < all->nelts; i++) {
        const apr_table_entry_t *one = &APR_ARRAY_IDX(all, i, apr_table_entry_t);

        if (!read_field(ask, one->key, one->val)) {
            return 0;
        }
    }
    return 1;
}

static int make_ask(asker_t *asker, gate_cache_ask_t *ask)
{
    const request_rec *r = asker->r;

    asker->view.scheme = ap_http_scheme(r);
    asker->view.host = r->hostname ? r->hostname : "";
    asker->view.port = (uint16_t)ap_get_server_port(r);
    ask->ctx = asker;
    ask->headers = headers_of;
    ask->view = view_of;
    ask->local_port = asker->view.port;
    /* where the query is another than the client's, or a file's name has a '?', the key is made the long way */
    if ((r->args && (!r->parsed_uri.query || strcmp(r->args, r->parsed_uri.query)))
        || (strncmp(r->filename, "proxy:", 6) && strchr(r->filename, '?'))) {
        return 0;
    }
    set(&ask->host, asker->view.host);
    set(&ask->target, r->unparsed_uri);
    set(&ask->file, r->filename);
    return read_fields(r, ask);
}

/* ---- who is asked ------------------------------------------------------------------------------------------------------------- */

/* Each object at one desk, whichever thread it is asked by. */
static counter_t *counter_of(const gate_cache_text_t *target)
{
    uint32_t h = target->len;

    for (uint32_t i = 0; i < target->len; i++) {
        h = h * 31 + (unsigned char)target->at[i];
    }
    return &counters[(h ^ h >> 15) % DESKS];
}

/* What a section says is merged anew for each request: a place is known again by what it says. */
static const gate_cache_place_t *place_of(counter_t *at, const request_rec *r, const cache_dir_conf_t *conf, const char *scheme)
{
    place_t *one;

    for (int i = 0; i < at->count; i++) {
        one = at->places[i];
        if (one->place.vhost == r->server && !memcmp(&one->conf, conf, sizeof *conf) && !strcmp(one->scheme, scheme)
            && !strcmp(one->place.handler, r->handler)) {
            return &one->place;
        }
    }
    if (at->count == PLACES) {
        return NULL;
    }
    one = apr_pcalloc(at->pool, sizeof *one);
    memcpy(&one->conf, conf, sizeof *conf);
    one->scheme = apr_pstrdup(at->pool, scheme);
    one->place = (gate_cache_place_t){ .rule = cache_look_rule(&one->conf), .server = cache_server_name(r->server),
                                       .handler = apr_pstrdup(at->pool, r->handler), .base = "", .host = r->server->server_hostname,
                                       .conf = &one->conf, .vhost = r->server };
    at->places[at->count++] = one;
    return &one->place;
}

/* ---- the answer --------------------------------------------------------------------------------------------------------------- */

/* The fields for whoever reads them off the request. @return the number of them */
static int put_fields(request_rec *r, const char *lines, size_t len)
{
    char *at = apr_pstrmemdup(r->pool, lines, len), *end = at + len;
    int n = 0;

    for (; at < end; n++) {
        char *colon = strchr(at, ':'), *line_end = strchr(at, '\r');

        *colon = *line_end = '\0';
        apr_table_addn(r->headers_out, at, colon + 2);
        at = line_end + 2;
    }
    return n;
}

static char *put_line(char *to, const char *name, const char *value)
{
    return apr_cpystrn(apr_cpystrn(apr_cpystrn(apr_cpystrn(to, name, ODD_HEAD_BYTES), ": ", 3), value, ODD_HEAD_BYTES), "\r\n", 3);
}

/* What httpd says of the connection comes last. @return bytes, *len of them, of the connection's bucket allocator */
static char *finish_head(request_rec *r, char *head, size_t *len, int fields)
{
    const apr_array_header_t *all;
    char *to = head + *len;

    ap_set_keepalive(r);
    all = apr_table_elts(r->headers_out);
    for (; fields < all->nelts; fields++) {
        const apr_table_entry_t *one = &APR_ARRAY_IDX(all, fields, apr_table_entry_t);

        to = put_line(to, one->key, one->val);
    }
    memcpy(to, "\r\n", 2);
    *len = (size_t)(to + 2 - head);
    return head;
}

/* What the filters that are passed by would have left in the request. */
static void note_sent(request_rec *r, const gate_cache_hit_t *hit)
{
    const char *type = apr_table_get(r->headers_out, "Content-Type");

    r->status = hit->status;
    r->status_line = ap_get_status_line(hit->status);
    r->no_local_copy = 1;
    if (hit->status != HTTP_NOT_MODIFIED) {
        r->content_type = type;
        r->clength = r->bytes_sent = (apr_off_t)hit->length;
        r->sent_bodyct = 1;
    }
    apr_table_setn(r->subprocess_env, "GATE_CACHE", hit->word);
    if (hit->coded) {
        apr_table_setn(r->subprocess_env, "no-gzip", "1");
        apr_table_setn(r->subprocess_env, "no-brotli", "1");
    }
    r->eos_sent = 1;
}

static void pass_on(request_rec *r, ap_filter_t *out, gate_cache_hit_t *hit, char *head, size_t len)
{
    apr_bucket_alloc_t *alloc = r->connection->bucket_alloc;
    apr_bucket_brigade *bb = apr_brigade_create(r->pool, alloc);

    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_heap_create(head, len, apr_bucket_free, alloc));
    if (hit->place) {
        gate_pin_t pin = { hit->body, hit->place };

        cache_body_append(bb, &pin, 0, hit->length);
        hit->place = 0;
    }
    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_eos_create(alloc));
    ap_pass_brigade(out, bb);
}

/* Under the desk's lock. @return a copy of the answer's head, with room for more behind it; NULL: there is none to give */
static char *look(counter_t *at, request_rec *r, const cache_dir_conf_t *conf, gate_cache_ask_t *ask, gate_cache_hit_t *hit)
{
    const asker_t *asker = ask->ctx;
    gate_cache_pass_t pass;
    char *head = NULL;

    ask->place = place_of(at, r, conf, asker->view.scheme);
    if (ask->place && gate_desk_look(at->desk, ask, gate_mono_usec(), hit, &pass) == GATE_CACHE_HIT) {
        head = apr_bucket_alloc(hit->head_len + 2 * ODD_HEAD_BYTES, r->connection->bucket_alloc);
        memcpy(head, hit->head, hit->head_len);
    }
    return head;
}

int cache_direct(request_rec *r, const cache_dir_conf_t *conf)
{
    ap_filter_t *out = is_plain(r, conf) ? behind_own_filters(r) : NULL;
    asker_t asker = { .r = r };
    gate_cache_ask_t ask = { 0 };
    gate_cache_hit_t hit;
    counter_t *at;
    size_t len;
    char *head;
    int fields;

    if (!out || !make_ask(&asker, &ask)) {
        return 0;
    }
    at = counter_of(&ask.target);
    if (!at->desk || apr_thread_mutex_trylock(at->lock) != APR_SUCCESS) {
        return 0;
    }
    head = look(at, r, conf, &ask, &hit);
    apr_thread_mutex_unlock(at->lock);
    if (!head) {
        return 0;
    }
    fields = put_fields(r, head + hit.fields_at, hit.head_len - hit.fields_at);
    if (r->content_type && !apr_table_get(r->headers_out, "Content-Type")) {
        /* the type that mod_mime has found in the name goes along: httpd's filter knows how */
        apr_table_clear(r->headers_out);
        apr_bucket_free(head);
        gate_desk_done(cache_store, &hit);
        return 0;
    }
    cache_take(&hit);
    note_sent(r, &hit);
    len = hit.head_len;
    head = finish_head(r, head, &len, fields);
    ap_log_rerror(APLOG_MARK, APLOG_TRACE1, 0, r, "cache: a hit, written at once");
    pass_on(r, out, &hit, head, len);
    return 1;
}

/* freshness.c - see freshness.h; numbers in comments are sections of RFC 9111 */
#include "freshness.h"

#include <string.h>
#include <apr_strings.h>

#include "fields.h"

#define HEURISTIC_SHARE 10        /* a tenth of the time since it was last changed, 4.2.2 */
#define HEURISTIC_MAX (24 * 3600)

int gate_status_heuristic(int status)
{
    static const short codes[] = { 200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501 };

    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        if (codes[i] == status) {
            return 1;
        }
    }
    return 0;
}

/* Codes whose caching rules we know: what must-understand asks for (3, 5.2.2.3). */
static int status_understood(int status)
{
    static const short codes[] = { 200, 203, 204, 300, 301, 302, 303, 307, 308, 400, 403, 404, 405, 406, 408, 409, 410, 411, 413,
                                   414, 415, 421, 422, 426, 429, 451, 500, 501, 502, 503, 504, 505 };

    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        if (codes[i] == status) {
            return 1;
        }
    }
    return 0;
}

static int64_t max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* ---- lifetime and age --------------------------------------------------------------------------------------------------- */

/* 4.2.1: the first that applies of s-maxage, max-age, Expires. -1: none */
static int64_t explicit_lifetime(const gate_cc_t *cc, int targeted, const apr_table_t *headers, int64_t date)
{
    const char *expires;

    if (cc->s_maxage >= 0) {
        return cc->s_maxage;
    }
    if (cc->max_age >= 0) {
        return cc->max_age;
    }
    expires = targeted ? NULL : gate_field_first(headers, "Expires", NULL);
    if (!expires) {
        return -1;
    }
    /* 5.3: what is no date, "0" above all, lies in the past */
    return max64(0, gate_http_date(expires) - date);
}

static int64_t heuristic_lifetime(const apr_table_t *headers, int64_t date)
{
    int64_t modified = gate_http_date(gate_field_first(headers, "Last-Modified", NULL)), n;

    if (modified < 0 || modified >= date) {
        return 0;
    }
    n = (date - modified) / HEURISTIC_SHARE;
    return n > HEURISTIC_MAX ? HEURISTIC_MAX : n;
}

static void set_lifetime(int status, const gate_cc_t *cc, int targeted, const apr_table_t *headers,
                         const gate_cache_policy_t *policy, gate_freshness_t *f)
{
    f->lifetime = explicit_lifetime(cc, targeted, headers, f->date);
    f->how = GATE_LIFETIME_EXPLICIT;
    if (f->lifetime < 0) {
        f->lifetime = 0;
        f->how = GATE_LIFETIME_NONE;
        /* 4.2.2 */
        if (gate_status_heuristic(status) || (cc->flags & GATE_CC_PUBLIC)) {
            int by_policy = policy->default_ttl >= 0;

            f->lifetime = by_policy ? policy->default_ttl : heuristic_lifetime(headers, f->date);
            f->how = by_policy ? GATE_LIFETIME_DEFAULT : GATE_LIFETIME_HEURISTIC;
        }
    }
    if (policy->max_ttl >= 0 && f->lifetime > policy->max_ttl) {
        f->lifetime = policy->max_ttl;
    }
}

/* 4.2.3: corrected_initial_age. An Age that cannot be read: the first member of the list, else none. */
static int64_t initial_age(apr_pool_t *p, const apr_table_t *headers, const gate_when_t *when, int64_t date)
{
    const char *text = gate_field_first(headers, "Age", NULL), *member;
    int64_t age = 0, apparent = max64(0, when->response_wall - date);
    size_t len;

    if (text && gate_list_next(&text, &member, &len)) {
        age = max64(0, gate_delta_seconds(apr_pstrmemdup(p, member, len)));
    }
    return max64(apparent, age + max64(0, when->response_wall - when->request_wall));
}

/* How long beyond its lifetime: what the member allows, else the configuration, unless the member forbids it (4.2.4). */
static void set_stale(const gate_cc_t *cc, const gate_cache_policy_t *policy, gate_freshness_t *f)
{
    if (cc->s_maxage >= 0) {
        f->flags |= GATE_CC_S_MAXAGE;
    }
    if (f->flags & (GATE_CC_NO_CACHE | GATE_CC_MUST_REVALIDATE | GATE_CC_PROXY_REVALIDATE)) {
        return;
    }
    f->stale_while_revalidate = max64(0, cc->stale_while_revalidate >= 0 ? cc->stale_while_revalidate
                                         : cc->s_maxage >= 0 ? 0 : policy->stale_while_revalidate);
    f->stale_if_error = max64(0, cc->stale_if_error >= 0 ? cc->stale_if_error : cc->s_maxage >= 0 ? 0 : policy->stale_if_error);
}

void gate_freshness_of(apr_pool_t *p, int status, const apr_table_t *headers, const gate_cache_policy_t *policy,
                       const gate_when_t *when, gate_freshness_t *out)
{
    gate_cc_t cc;
    int targeted = gate_cc_of_response(p, headers, &cc);

    memset(out, 0, sizeof *out);
    out->date = gate_http_date(gate_field_first(headers, "Date", NULL));
    if (out->date < 0) {
        out->date = when->response_wall; /* RFC 9110, 6.6.1: when it came */
    }
    set_lifetime(status, &cc, targeted, headers, policy, out);
    out->initial_age = initial_age(p, headers, when, out->date);
    out->received_usec = when->response_usec;
    out->flags = cc.flags & (GATE_CC_NO_CACHE | GATE_CC_MUST_REVALIDATE | GATE_CC_PROXY_REVALIDATE | GATE_CC_IMMUTABLE
                             | GATE_CC_NO_TRANSFORM);
    set_stale(&cc, policy, out);
}

int64_t gate_age(const gate_freshness_t *f, int64_t now_usec)
{
    return f->initial_age + max64(0, now_usec - f->received_usec) / 1000000;
}

/* ---- 3: storing ------------------------------------------------------------------------------------------------------------ */

/* 3.5 */
static int authorized_reuse(const gate_cc_t *cc)
{
    return (cc->flags & (GATE_CC_PUBLIC | GATE_CC_MUST_REVALIDATE)) || cc->s_maxage >= 0;
}

/* Types that are made for everybody. The answer's type decides, never the look of the URL. */
static int impersonal(const apr_table_t *response)
{
    static const char *const types[] = { "text/css", "text/javascript", "application/javascript", "application/x-javascript",
                                         "application/wasm", "image/", "font/", "audio/", "video/", "application/font" };
    const char *type = apr_table_get(response, "Content-Type");

    for (size_t i = 0; type && i < sizeof types / sizeof *types; i++) {
        if (!strncasecmp(type, types[i], strlen(types[i]))) {
            return 1;
        }
    }
    return 0;
}

const char *gate_not_storable(apr_pool_t *p, const gate_storable_t *x, const gate_cache_policy_t *policy, const gate_when_t *when)
{
    gate_cc_t cc, asked;
    gate_freshness_t f;
    int targeted = gate_cc_of_response(p, x->response, &cc), understood = status_understood(x->status), explicit_life;

    gate_cc_of_request(p, x->request, &asked);
    if (strcmp(x->method, "GET")) {
        return "METHOD";
    }
    if (x->has_body_in) {
        return "REQUEST-BODY";
    }
    if (asked.flags & GATE_CC_NO_STORE) {
        return "REQUEST-NO-STORE";
    }
    if (x->status < 200 || x->status == 206 || x->status == 304 || apr_table_get(x->response, "Content-Range")) {
        return "PARTIAL";
    }
    if ((cc.flags & GATE_CC_MUST_UNDERSTAND) && !understood) {
        return "STATUS";
    }
    if ((cc.flags & GATE_CC_NO_STORE) && !(cc.flags & GATE_CC_MUST_UNDERSTAND)) {
        return "NO-STORE";
    }
    if (cc.flags & GATE_CC_PRIVATE) {
        return "PRIVATE";
    }
    if (apr_table_get(x->request, "Authorization") && !authorized_reuse(&cc)) {
        return "AUTHORIZATION";
    }
    if (apr_table_get(x->response, "Set-Cookie") || apr_table_get(x->response, "Set-Cookie2")) {
        return "SET-COOKIE";
    }
    explicit_life = cc.max_age >= 0 || cc.s_maxage >= 0 || (!targeted && apr_table_get(x->response, "Expires"))
                    || (cc.flags & GATE_CC_PUBLIC);
    if (!explicit_life && !gate_status_heuristic(x->status)) {
        return "STATUS";
    }
    gate_freshness_of(p, x->status, x->response, policy, when, &f);
    if (f.how != GATE_LIFETIME_EXPLICIT && apr_table_get(x->request, "Cookie") && !impersonal(x->response)) {
        return "COOKIE";
    }
    if (f.lifetime <= f.initial_age && !f.stale_while_revalidate && !f.stale_if_error
        && !apr_table_get(x->response, "ETag") && !apr_table_get(x->response, "Last-Modified")) {
        return "NO-FRESHNESS";
    }
    return NULL;
}

/* ---- 4: serving ------------------------------------------------------------------------------------------------------------ */

/* 4.2.4: who forbids stale answers for good */
static int never_stale(const gate_freshness_t *f)
{
    return (f->flags & (GATE_CC_NO_CACHE | GATE_CC_MUST_REVALIDATE | GATE_CC_PROXY_REVALIDATE | GATE_CC_S_MAXAGE)) != 0;
}

gate_freshness_e gate_freshness_judge(const gate_freshness_t *f, const gate_cc_t *request, int soft, int64_t now_usec)
{
    int64_t age = gate_age(f, now_usec), ttl = f->lifetime - age;
    int fresh = ttl > 0 && !soft;

    if (f->flags & GATE_CC_NO_CACHE) {
        return GATE_VALIDATE;
    }
    /* RFC 8246: what never changes is not asked for again while it is fresh, reload or not */
    if (fresh && (f->flags & GATE_CC_IMMUTABLE)) {
        return GATE_SERVE;
    }
    if (request->flags & GATE_CC_NO_CACHE) {
        return GATE_VALIDATE;
    }
    if ((request->max_age >= 0 && age > request->max_age)
        || (request->max_age == 0) || (request->min_fresh >= 0 && ttl < request->min_fresh)) {
        return GATE_VALIDATE;
    }
    if (fresh) {
        return GATE_SERVE;
    }
    if (!never_stale(f) && ((request->flags & GATE_CC_MAX_STALE_ANY) || (request->max_stale >= 0 && -ttl <= request->max_stale))
        && !soft) {
        return GATE_SERVE_STALE;
    }
    if (f->stale_while_revalidate > 0 && -ttl <= f->stale_while_revalidate) {
        return GATE_SERVE_REFRESH;
    }
    return GATE_VALIDATE;
}

int gate_stale_on_error(const gate_freshness_t *f, const gate_cc_t *request, int status, int64_t now_usec)
{
    int64_t beyond = -gate_ttl(f, now_usec), allowed = f->stale_if_error;

    if (status != 0 && status != 500 && status != 502 && status != 503 && status != 504) {
        return 0; /* the member said something that counts: 401, 403, 404, 410 above all */
    }
    if (request->flags & GATE_CC_NO_CACHE) {
        return 0;
    }
    if (request->stale_if_error >= 0 && !never_stale(f)) {
        allowed = request->stale_if_error;
    }
    return allowed > 0 && beyond <= allowed;
}

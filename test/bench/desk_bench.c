/*
 * desk_bench.c - nanoseconds for an answer out of the store, as an event loop gets it: 1 KB, its head as text, its body held and let go.
 *
 *     make -f apxs.mk bench_programs && build/bench/desk_bench
 *
 * One thread; 1 and 1000 objects asked for in turn. "remembered": nothing in the store has moved; "searched": something was stored in
 * the shard just before; "in full": the desk has never seen it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "desk.h"
#include "gate_time.h"

#define SIZE (64u << 20)
#define OBJECTS 1000
#define ROUND_USEC 50000
#define ROUNDS 5

static const gate_seed_t seed = { { 1, 2 } };
static gate_store_t *store;
static apr_pool_t *pool;
static gate_cache_place_t place = { .rule = { NULL, 0, 1, 0 }, .server = "vhost", .handler = "proxy-server", .base = "proxy:gate://app" };
static apr_table_t *request;
static gate_view_t view = { .method = "GET", .scheme = "http", .host = "www.example.com", .port = 80, .path = "/" };
static char targets[OBJECTS + 1][64];
static volatile uint64_t sink;

static const char *status_line(int status)
{
    (void)status;
    return "200 OK";
}

static void codings(const gate_cache_place_t *p, uint64_t hash, gate_ref_t head)
{
    (void)p, (void)hash, (void)head;
}

static const apr_table_t *headers_of(void *ctx, apr_pool_t *p)
{
    (void)ctx, (void)p;
    return request;
}

static const gate_view_t *view_of(void *ctx)
{
    (void)ctx;
    return &view;
}

static int never(void *ctx)
{
    (void)ctx;
    return 0;
}

static int same(void *ctx, const void *bytes, uint64_t len)
{
    gate_head_view_t head;

    return gate_head_read(bytes, len, &head) && gate_head_has_key(&head, ctx);
}

static void put(const char *target)
{
    gate_key_t key = { .url = apr_pstrcat(pool, "http://www.example.com:80", target, NULL) };
    gate_freshness_t fresh = { .lifetime = 86400, .received_usec = gate_mono_usec(), .date = 1700000000 };
    apr_table_t *fields = apr_table_make(pool, 8);
    gate_head_parts_t parts = { .key = &key, .status = 200, .fresh = &fresh, .body_len = 1024, .fields = fields };
    static char body[1024];
    gate_fill_t fill;
    size_t len;
    void *head;

    key.url_len = strlen(key.url);
    key.route = apr_psprintf(pool, "vhost\nproxy-server\nproxy:gate://app%.*s\n\n", (int)strcspn(target, "?"), target);
    key.route_len = strlen(key.route);
    key.hash = gate_store_hash(store, key.url, key.url_len);
    apr_table_setn(fields, "Date", "Tue, 14 Nov 2023 22:13:20 GMT");
    apr_table_setn(fields, "Server", "nginx/1.22.1");
    apr_table_setn(fields, "Content-Type", "text/css");
    apr_table_setn(fields, "Last-Modified", "Tue, 14 Nov 2023 20:13:20 GMT");
    apr_table_setn(fields, "ETag", "\"6553f3d0-400\"");
    apr_table_setn(fields, "Cache-Control", "max-age=86400");
    head = gate_head_build(pool, &parts, &len);
    if (gate_store_begin(store, key.hash, sizeof body, &fill) != GATE_STORE_OK
        || gate_store_set_head(store, &fill, head, len) != GATE_STORE_OK
        || gate_store_append(store, &fill, body, sizeof body) != GATE_STORE_OK
        || gate_store_commit(store, &fill, same, never, &key) != GATE_STORE_OK) {
        printf("desk_bench: nothing can be stored\n");
        exit(1);
    }
}

static gate_cache_text_t text(const char *s)
{
    return (gate_cache_text_t){ s, s ? (uint32_t)strlen(s) : 0 };
}

typedef enum { REMEMBERED, SEARCHED, FULL, NOT_MODIFIED } what_e;

static void one(gate_cache_desk_t *desk, gate_cache_ask_t *ask, const char *target, int64_t now_usec)
{
    gate_cache_hit_t hit;
    gate_cache_pass_t pass;
    const char *data;

    ask->target = ask->file = text(target);
    if (gate_desk_look(desk, ask, now_usec, &hit, &pass) != GATE_CACHE_HIT) {
        printf("desk_bench: no hit\n");
        exit(1);
    }
    sink += hit.head_len + gate_desk_piece(store, &hit, 0, &data);
    gate_desk_done(store, &hit);
}

/* What stands between two looks is measured by itself and taken off. */
static double measure(what_e what, int objects)
{
    static const gate_desk_ops_t ops = { "Apache", status_line, codings };
    gate_cache_ask_t ask = { .place = &place, .local_port = 80, .host = text("www.example.com"), .encoding = text("gzip, deflate, br"),
                             .none_match = text(what == NOT_MODIFIED ? "\"6553f3d0-400\"" : NULL), .headers = headers_of, .view = view_of };
    double best = 1e9;

    for (int round = 0; round < ROUNDS; round++) {
        apr_pool_t *p;
        gate_cache_desk_t *desk;
        int64_t begin, end, aside = 0;
        uint64_t n = 0;
        double ns;

        apr_pool_create(&p, pool);
        desk = gate_desk_create(p, store, &ops, GATE_DESK_ENTRIES);
        for (int i = 0; i < objects && what != FULL; i++) {
            one(desk, &ask, targets[i], gate_mono_usec());
        }
        begin = gate_mono_usec();
        do {
            for (int i = 0; i < 500; i++, n++) {
                if (what == SEARCHED && n % (unsigned)objects == 0) {
                    int64_t t = gate_mono_usec();
                    put(targets[OBJECTS]);
                    aside += gate_mono_usec() - t;
                }
                else if (what == FULL && n % (unsigned)objects == 0) {
                    int64_t t = gate_mono_usec();
                    apr_pool_clear(p);
                    desk = gate_desk_create(p, store, &ops, GATE_DESK_ENTRIES);
                    aside += gate_mono_usec() - t;
                }
                one(desk, &ask, targets[n % (unsigned)objects], begin);
            }
            end = gate_mono_usec();
        } while (end - begin < ROUND_USEC);
        ns = (double)(end - begin - aside) * 1000 / (double)n;
        best = ns < best ? ns : best;
        apr_pool_destroy(p);
    }
    return best;
}

int main(void)
{
    gate_store_limits_t limits = { SIZE, SIZE / 16, 4 };
    const char *why = NULL;
    void *base = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    apr_initialize();
    apr_pool_create(&pool, NULL);
    store = gate_store_attach(pool, base, &limits, 1, &seed, &why);
    gate_store_sit(store, 0);
    request = apr_table_make(pool, 8);
    apr_table_setn(request, "Host", "www.example.com");
    apr_table_setn(request, "User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/115.0");
    apr_table_setn(request, "Accept", "*/*");
    apr_table_setn(request, "Accept-Encoding", "gzip, deflate, br");
    apr_table_setn(request, "If-None-Match", "\"6553f3d0-400\"");
    for (int i = 0; i <= OBJECTS; i++) {
        snprintf(targets[i], sizeof targets[i], "/assets/css/site-%05d.css?v=1.%d", i, i);
        put(targets[i]);
    }
    printf("ns per answer        1 object   1000 objects\n");
    printf("remembered         %10.0f %14.0f\n", measure(REMEMBERED, 1), measure(REMEMBERED, OBJECTS));
    printf("remembered, 304    %10.0f %14.0f\n", measure(NOT_MODIFIED, 1), measure(NOT_MODIFIED, OBJECTS));
    printf("searched                    - %14.0f\n", measure(SEARCHED, OBJECTS));
    printf("in full                     - %14.0f\n", measure(FULL, OBJECTS));
    return 0;
}

/*
 * probe.c - checks over the network: any number in flight on one thread, by libcurl and epoll. See health.h.
 *
 * Each check makes a connection of its own and closes it: what is asked is whether the member takes new ones. DNS answers and TLS
 * sessions are shared among checks. No proxy of the environment is used. A handle goes back to a list when its check is done.
 */
#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <apr_lib.h>
#include <apr_strings.h>
#include <apr_time.h>
#include <httpd.h>
#include <http_log.h>

#include "gate_log.h"
#include "gate_time.h"
#include "grpc_health.h"
#include "health.h"

APLOG_USE_MODULE(gate_health);

#define BODY_MAX 65536      /* of an answer; what follows is not waited for */
#define IN_FLIGHT_MAX 8192
#define EVENTS 128
#define IDLE_HANDLES 256

typedef struct probe {
    CURL *easy;
    probe_engine_t *engine;
    struct probe *next, **link;     /* of those in flight, or idle */
    const health_check_t *check;
    uint32_t slot, incarnation;
    struct curl_slist *headers, *connect_to;
    int64_t begun_usec;
    char *body;
    size_t body_len;
    int cut;                        /* the body was longer than BODY_MAX */
    int grpc_status;                /* -1: not said */
    unsigned char ask[GRPC_REQUEST_MAX];
    char error[CURL_ERROR_SIZE];
} probe_t;

struct probe_engine {
    CURLM *multi;
    CURLSH *share;
    int epoll;
    int64_t timer_usec;             /* when libcurl wants to be called; 0: not */
    probe_t *flying, *idle;
    uint32_t in_flight, idle_count, limit;
    probe_done_fn done;
    void *ctx;
};

int probe_speaks_http(const gate_url_t *url)
{
    static const char *const schemes[] = { "http", "https", "h2", "h2c", "ws", "wss" };
    size_t i;

    for (i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        if (strcmp(url->scheme, schemes[i]) == 0) {
            return 1;
        }
    }
    return 0;
}

/* ---- libcurl's events ----------------------------------------------------------------------------------------------------- */

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *known)
{
    probe_engine_t *engine = ctx;
    struct epoll_event event = { .data.fd = fd };

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        epoll_ctl(engine->epoll, EPOLL_CTL_DEL, fd, NULL);
        return 0;
    }
    event.events = (what & CURL_POLL_IN ? (uint32_t)EPOLLIN : 0) | (what & CURL_POLL_OUT ? (uint32_t)EPOLLOUT : 0);
    if (epoll_ctl(engine->epoll, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) != 0) {
        /* a number that was closed and came again before libcurl said so */
        epoll_ctl(engine->epoll, errno == EEXIST ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event);
    }
    curl_multi_assign(engine->multi, fd, engine);
    return 0;
}

static int on_timer(CURLM *multi, long ms, void *ctx)
{
    probe_engine_t *engine = ctx;

    (void)multi;
    engine->timer_usec = ms < 0 ? 0 : gate_mono_usec() + (int64_t)ms * 1000;
    return 0;
}

static size_t on_body(char *data, size_t size, size_t n, void *ctx)
{
    probe_t *probe = ctx;
    size_t len = size * n, room = BODY_MAX - probe->body_len;

    if (len > room) {
        probe->cut = 1; /* ends the transfer: what was read is judged */
        len = room;
    }
    if (probe->check->body_regex || probe->check->kind == CHECK_KIND_GRPC) {
        if (!probe->body && !(probe->body = malloc(BODY_MAX))) {
            return 0;
        }
        memcpy(probe->body + probe->body_len, data, len);
    }
    probe->body_len += len;
    return probe->cut ? 0 : size * n;
}

/* "grpc-status: 0" or the like, not ended by NUL. @return the number, -1 if it is another field, 99 if it is no number */
static int read_grpc_status(const char *data, size_t len)
{
    static const char name[] = "grpc-status:";
    size_t at = sizeof name - 1;
    int status = 0, digits = 0;

    if (len <= at || ap_cstr_casecmpn(data, name, at) != 0) {
        return -1;
    }
    while (at < len && data[at] == ' ') {
        at++;
    }
    for (; at < len && apr_isdigit(data[at]) && digits < 3; at++, digits++) {
        status = status * 10 + data[at] - '0';
    }
    return digits ? status : 99;
}

/* Trailers come here too. */
static size_t on_header(char *data, size_t size, size_t n, void *ctx)
{
    probe_t *probe = ctx;
    int status = probe->check->kind == CHECK_KIND_GRPC ? read_grpc_status(data, size * n) : -1;

    if (status >= 0) {
        probe->grpc_status = status;
    }
    return size * n;
}

/* ---- engine --------------------------------------------------------------------------------------------------------------- */

static apr_status_t global_end(void *unused)
{
    (void)unused;
    curl_global_cleanup();
    return APR_SUCCESS;
}

void probe_init(apr_pool_t *pchild)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK) {
        apr_pool_cleanup_register(pchild, NULL, global_end, apr_pool_cleanup_null);
    }
}

/* Three quarters of the descriptors that this process may have are the most for checks: clients come first. */
static uint32_t in_flight_limit(void)
{
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur > IN_FLIGHT_MAX * 4 / 3) {
        return IN_FLIGHT_MAX;
    }
    return (uint32_t)files.rlim_cur * 3 / 4;
}

probe_engine_t *probe_engine_create(apr_pool_t *p, probe_done_fn done, void *ctx)
{
    probe_engine_t *engine = apr_pcalloc(p, sizeof *engine);

    engine->done = done;
    engine->ctx = ctx;
    engine->limit = in_flight_limit();
    engine->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (engine->epoll < 0) {
        return NULL;
    }
    engine->multi = curl_multi_init();
    engine->share = curl_share_init();
    if (!engine->multi || !engine->share) {
        errno = ENOMEM;
        probe_engine_end(engine);
        return NULL;
    }
    curl_share_setopt(engine->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
    curl_share_setopt(engine->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
    curl_multi_setopt(engine->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(engine->multi, CURLMOPT_SOCKETDATA, engine);
    curl_multi_setopt(engine->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(engine->multi, CURLMOPT_TIMERDATA, engine);
    return engine;
}

static void link_in(probe_t *probe, probe_t **list)
{
    probe->next = *list;
    probe->link = list;
    if (probe->next) {
        probe->next->link = &probe->next;
    }
    *list = probe;
}

static void link_out(probe_t *probe)
{
    *probe->link = probe->next;
    if (probe->next) {
        probe->next->link = probe->link;
    }
}

/* A handle that can be made ready for any check. */
static probe_t *take_handle(probe_engine_t *engine)
{
    probe_t *probe = engine->idle;

    if (probe) {
        link_out(probe);
        engine->idle_count--;
        return probe;
    }
    probe = calloc(1, sizeof *probe);
    if (probe && !(probe->easy = curl_easy_init())) {
        free(probe);
        probe = NULL;
    }
    return probe;
}

static void empty_handle(probe_t *probe)
{
    curl_slist_free_all(probe->headers);
    curl_slist_free_all(probe->connect_to);
    free(probe->body);
    probe->headers = probe->connect_to = NULL;
    probe->body = NULL;
    probe->body_len = 0;
    probe->cut = 0;
}

static void give_handle(probe_engine_t *engine, probe_t *probe)
{
    empty_handle(probe);
    if (engine->idle_count >= IDLE_HANDLES) {
        curl_easy_cleanup(probe->easy);
        free(probe);
        return;
    }
    curl_easy_reset(probe->easy);
    link_in(probe, &engine->idle);
    engine->idle_count++;
}

static void land(probe_engine_t *engine, probe_t *probe)
{
    curl_multi_remove_handle(engine->multi, probe->easy);
    link_out(probe);
    engine->in_flight--;
    give_handle(engine, probe);
}

void probe_engine_end(probe_engine_t *engine)
{
    while (engine->flying) {
        land(engine, engine->flying);
    }
    while (engine->idle) {
        probe_t *probe = engine->idle;

        link_out(probe);
        curl_easy_cleanup(probe->easy);
        free(probe);
    }
    curl_multi_cleanup(engine->multi);
    curl_share_cleanup(engine->share);
    close(engine->epoll);
}

uint32_t probe_in_flight(const probe_engine_t *engine)
{
    return engine->in_flight;
}

/* ---- asking --------------------------------------------------------------------------------------------------------------- */

static void set_protocol(CURL *easy, const probe_ask_t *ask, int tls)
{
    const char *scheme = ask->url->scheme;
    int h2 = ask->check->kind == CHECK_KIND_GRPC || strcmp(scheme, "h2") == 0 || strcmp(scheme, "h2c") == 0;
    long version = !h2 ? CURL_HTTP_VERSION_1_1 : tls ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE;

    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, version);
    if (tls) {
        int verify = ask->check->verify != CHECK_VERIFY_OFF;

        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, (long)verify);
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, verify ? 2L : 0L);
        if (ask->check->verify == CHECK_VERIFY_FILE) {
            curl_easy_setopt(easy, CURLOPT_CAINFO, ask->check->ca_file);
        }
    }
}

static struct curl_slist *make_headers(const probe_ask_t *ask)
{
    const health_check_t *check = ask->check;
    struct curl_slist *list = NULL;
    char text[400];
    int i;

    if (check->host) {
        apr_snprintf(text, sizeof text, "Host: %s", check->host);
        list = curl_slist_append(list, text);
    }
    if (check->kind == CHECK_KIND_GRPC) {
        list = curl_slist_append(list, "Content-Type: application/grpc");
        list = curl_slist_append(list, "TE: trailers");
        list = curl_slist_append(list, "Expect:");
    } else if (strcmp(ask->url->scheme, "h2") != 0 && strcmp(ask->url->scheme, "h2c") != 0) {
        list = curl_slist_append(list, "Connection: close");
    }
    for (i = 0; i < check->headers->nelts; i++) {
        list = curl_slist_append(list, APR_ARRAY_IDX(check->headers, i, const char *));
    }
    return list;
}

/*
 * The URL names the host that the member is to believe it is asked for, in Host field and SNI; the connection goes to the member.
 */
static void set_address(probe_t *probe, const probe_ask_t *ask, int tls)
{
    const gate_url_t *url = ask->url;
    const health_check_t *check = ask->check;
    const char *path = check->kind == CHECK_KIND_GRPC ? GRPC_PATH : check->path ? check->path : "/";
    const char *host = check->host ? check->host : url->host;
    int v6 = strchr(url->host, ':') != NULL;
    unsigned port = check->port ? check->port : url->port;
    char text[GATE_URL_LEN + 2048];
    size_t host_len = strlen(host);
    const char *colon = strrchr(host, ':');

    if (check->host && colon && !strchr(colon, ']')) {
        host_len = (size_t)(colon - host); /* a port in host= is for the Host field alone */
    }
    if (!check->host && v6) {
        apr_snprintf(text, sizeof text, "%s://[%s]:%u%s", tls ? "https" : "http", url->host, port ? port : 80, path);
    } else {
        apr_snprintf(text, sizeof text, "%s://%.*s:%u%s", tls ? "https" : "http", (int)host_len, host, port ? port : 80, path);
    }
    curl_easy_setopt(probe->easy, CURLOPT_URL, text);
    if (url->unix_path && !check->port) {
        curl_easy_setopt(probe->easy, CURLOPT_UNIX_SOCKET_PATH, url->unix_path);
    } else if (check->host || url->unix_path) { /* a port of a unix member is one of this host */
        apr_snprintf(text, sizeof text, v6 ? "::[%s]:%u" : "::%s:%u", url->unix_path ? "127.0.0.1" : url->host, port);
        probe->connect_to = curl_slist_append(NULL, text);
        curl_easy_setopt(probe->easy, CURLOPT_CONNECT_TO, probe->connect_to);
    }
}

static void set_request(probe_t *probe, const probe_ask_t *ask)
{
    const health_check_t *check = ask->check;

    if (check->kind == CHECK_KIND_TCP) {
        curl_easy_setopt(probe->easy, CURLOPT_CONNECT_ONLY, 1L);
        return;
    }
    probe->headers = make_headers(ask);
    curl_easy_setopt(probe->easy, CURLOPT_HTTPHEADER, probe->headers);
    if (check->kind == CHECK_KIND_GRPC) {
        size_t len = grpc_health_ask(check->service, probe->ask);

        curl_easy_setopt(probe->easy, CURLOPT_POST, 1L);
        curl_easy_setopt(probe->easy, CURLOPT_POSTFIELDS, probe->ask);
        curl_easy_setopt(probe->easy, CURLOPT_POSTFIELDSIZE, (long)len);
    } else if (strcmp(check->method, "HEAD") == 0) {
        curl_easy_setopt(probe->easy, CURLOPT_NOBODY, 1L);
    } else if (strcmp(check->method, "GET") != 0) {
        curl_easy_setopt(probe->easy, CURLOPT_CUSTOMREQUEST, check->method);
    }
}

static void set_common(probe_t *probe, const probe_ask_t *ask)
{
    long ms = (long)((ask->check->rule.timeout_usec + 999) / 1000);
    CURL *easy = probe->easy;

    curl_easy_setopt(easy, CURLOPT_PRIVATE, probe);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, probe->error);
    curl_easy_setopt(easy, CURLOPT_SHARE, probe->engine->share);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
    curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "Gatehouse/" GATE_VERSION " (health check)");
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, ms);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, ms);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, probe);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, probe);
}

int probe_start(probe_engine_t *engine, const probe_ask_t *ask)
{
    probe_t *probe = engine->in_flight < engine->limit ? take_handle(engine) : NULL;
    int tls = ask->check->kind != CHECK_KIND_TCP
              && (strcmp(ask->url->scheme, "https") == 0 || strcmp(ask->url->scheme, "h2") == 0 || strcmp(ask->url->scheme, "wss") == 0);

    if (!probe) {
        return -1;
    }
    probe->engine = engine;
    probe->check = ask->check;
    probe->slot = ask->slot;
    probe->incarnation = ask->incarnation;
    probe->begun_usec = gate_mono_usec();
    probe->grpc_status = -1;
    probe->error[0] = '\0';
    set_common(probe, ask);
    set_protocol(probe->easy, ask, tls);
    set_address(probe, ask, tls);
    set_request(probe, ask);
    link_in(probe, &engine->flying);
    engine->in_flight++;
    if (curl_multi_add_handle(engine->multi, probe->easy) != CURLM_OK) {
        land(engine, probe);
        return -1;
    }
    return 0;
}

/* ---- judging -------------------------------------------------------------------------------------------------------------- */

static check_code_e code_of(CURLcode rc, long os_errno)
{
    switch (rc) {
    case CURLE_OPERATION_TIMEDOUT:
        return CHECK_TIMEOUT;
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST:
        return os_errno == EMFILE || os_errno == ENFILE || os_errno == ENOBUFS || os_errno == ENOMEM || os_errno == EADDRNOTAVAIL
                   ? CHECK_OURS
                   : CHECK_CONNECT;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_ISSUER_ERROR:
        return CHECK_TLS;
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_PARTIAL_FILE:
        return CHECK_RESET;
    case CURLE_OUT_OF_MEMORY:
    case CURLE_FAILED_INIT:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ENGINE_NOTFOUND:
        return CHECK_OURS;
    default:
        return CHECK_BAD;
    }
}

static void say_failure(const probe_t *probe, CURLcode rc, check_result_t *result)
{
    long os_errno = 0;
    char text[80];

    curl_easy_getinfo(probe->easy, CURLINFO_OS_ERRNO, &os_errno);
    result->code = code_of(rc, os_errno);
    if (result->code == CHECK_TIMEOUT) {
        apr_snprintf(result->why, sizeof result->why, "no answer within %" APR_INT64_T_FMT " ms", probe->check->rule.timeout_usec / 1000);
    } else if (os_errno && (result->code == CHECK_CONNECT || result->code == CHECK_OURS || result->code == CHECK_RESET)) {
        apr_snprintf(result->why, sizeof result->why, "%s", apr_strerror((apr_status_t)os_errno, text, sizeof text));
    } else {
        apr_snprintf(result->why, sizeof result->why, "%s", probe->error[0] ? probe->error : curl_easy_strerror(rc));
    }
}

static void judge_grpc(const probe_t *probe, check_result_t *result)
{
    int serving = result->status == 200 ? grpc_health_answer((const unsigned char *)(probe->body ? probe->body : ""), probe->body_len) : -1;

    if (result->status != 200) {
        result->code = CHECK_STATUS;
        apr_snprintf(result->why, sizeof result->why, "status %d", result->status);
    } else if (probe->grpc_status < 0) {
        result->code = CHECK_BAD;
        apr_snprintf(result->why, sizeof result->why, "the answer has no grpc-status");
    } else if (probe->grpc_status > 0) {
        result->code = probe->grpc_status == 12 || probe->grpc_status == 5 ? CHECK_BAD : CHECK_SERVING;
        apr_snprintf(result->why, sizeof result->why, "grpc-status %d%s", probe->grpc_status,
                     probe->grpc_status == 12 ? ": it has no health service" : probe->grpc_status == 5 ? ": it knows no such service" : "");
    } else if (serving < 0) {
        result->code = CHECK_BAD;
        apr_snprintf(result->why, sizeof result->why, "the answer is no HealthCheckResponse");
    } else {
        result->code = serving == GRPC_SERVING ? CHECK_OK : CHECK_SERVING;
        apr_snprintf(result->why, sizeof result->why, "%s", grpc_health_word(serving));
    }
}

static void judge_http(const probe_t *probe, check_result_t *result)
{
    apr_snprintf(result->why, sizeof result->why, "status %d", result->status);
    if (!gate_status_in(&probe->check->statuses, result->status)) {
        result->code = CHECK_STATUS;
    } else if (probe->check->body_regex
               && ap_regexec_len(probe->check->body_regex, probe->body ? probe->body : "", probe->body_len, 0, NULL, 0) != 0) {
        result->code = CHECK_BODY;
        apr_snprintf(result->why, sizeof result->why, "status %d, the body does not match%s", result->status,
                     probe->cut ? " (its first 64K)" : "");
    }
}

static void judge(const probe_t *probe, CURLcode rc, check_result_t *result)
{
    long status = 0;

    result->took_usec = gate_mono_usec() - probe->begun_usec;
    result->wall_usec = apr_time_now();
    curl_easy_getinfo(probe->easy, CURLINFO_RESPONSE_CODE, &status);
    result->status = (int)status;
    if (rc != CURLE_OK && !(rc == CURLE_WRITE_ERROR && probe->cut)) {
        say_failure(probe, rc, result);
        return;
    }
    switch (probe->check->kind) {
    case CHECK_KIND_TCP:
        result->status = 0;
        apr_snprintf(result->why, sizeof result->why, "connected");
        break;
    case CHECK_KIND_GRPC:
        judge_grpc(probe, result);
        break;
    default:
        judge_http(probe, result);
    }
}

/* ---- serving -------------------------------------------------------------------------------------------------------------- */

static void collect(probe_engine_t *engine)
{
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(engine->multi, &left))) {
        check_result_t result = { .code = CHECK_OK };
        uint32_t slot, incarnation;
        probe_t *probe;

        if (message->msg != CURLMSG_DONE) {
            continue;
        }
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&probe);
        judge(probe, message->data.result, &result);
        slot = probe->slot;
        incarnation = probe->incarnation;
        land(engine, probe);
        engine->done(slot, incarnation, &result, engine->ctx);
    }
}

/* Milliseconds to wait, rounded up, at most until the end. */
static int wait_ms(const probe_engine_t *engine, int64_t now_usec, int64_t until_usec)
{
    int64_t at = engine->timer_usec && engine->timer_usec < until_usec ? engine->timer_usec : until_usec;

    return at > now_usec ? (int)((at - now_usec + 999) / 1000) : 0;
}

static void serve(probe_engine_t *engine, const struct epoll_event *events, int n)
{
    int i, running;

    for (i = 0; i < n; i++) {
        int what = (events[i].events & EPOLLIN ? CURL_CSELECT_IN : 0) | (events[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0)
                   | (events[i].events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);

        curl_multi_socket_action(engine->multi, events[i].data.fd, what, &running);
    }
    if (engine->timer_usec && gate_mono_usec() >= engine->timer_usec) {
        engine->timer_usec = 0;
        curl_multi_socket_action(engine->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    }
}

void probe_run(probe_engine_t *engine, int64_t until_usec)
{
    struct epoll_event events[EVENTS];
    int64_t now = gate_mono_usec();

    do {
        int n = epoll_wait(engine->epoll, events, EVENTS, wait_ms(engine, now, until_usec));

        serve(engine, events, n > 0 ? n : 0);
        collect(engine);
        now = gate_mono_usec();
    } while (now < until_usec);
}

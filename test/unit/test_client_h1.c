/*
 * test_client_h1.c - the HTTP/1.1 codec between a connection and an exchange that are both played by the test: what comes out, in which order,
 * and who is asked to close.
 */
#include "client_world.h"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"
#define OK2 "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 2\r\n\r\nok"
#define SENT2 "HTTP/1.1 200 OK\r\nDate: x\r\nServer: Apache\r\nContent-Length: 2\r\n\r\nok"
#define CHUNKED "HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\n\r\n"

/* ---- requests in order --------------------------------------------------------------------------------------------------------- */

static void test_keep_alive(void **state)
{
    (void)state;
    assert_int_equal(w.phase, CONN_IDLE);
    feed("GET /a HT");
    assert_int_equal(w.phase, CONN_HEAD);
    assert_int_equal(w.begun, 0);
    feed("TP/1.1\r\nHost: a\r\n\r\n");
    assert_said("[GET /a]");
    assert_int_equal(w.phase, CONN_ANSWER);
    answer(OK2);
    assert_out(SENT2);
    assert_said("(end 2)");
    assert_int_equal(w.phase, CONN_IDLE);
    feed("\r\n");
    assert_int_equal(w.phase, CONN_IDLE);
    feed("GET /b HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
    answer(OK2);
    assert_out("HTTP/1.1 200 OK\r\nDate: x\r\nServer: Apache\r\nContent-Length: 2\r\nKeep-Alive: timeout=5, max=99\r\nConnection: Keep-Alive\r\n\r\nok");
    assert_int_equal(w.c.keepalives, 2);
    assert_int_equal(w.c.keepalive, AP_CONN_KEEPALIVE);
    feed("GET /c HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    answer(OK2);
    assert_out("HTTP/1.1 200 OK\r\nDate: x\r\nServer: Apache\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    assert_int_equal(w.closed, 0); /* not from within the exchange's call */
    run_job();
    assert_int_equal(w.closed, 1);
}

static void test_pipelined(void **state)
{
    (void)state;
    feed(GET("/a") GET("/b") "HEAD /c HTTP/1.1\r\nHost: a\r\n\r\n" GET("/d"));
    assert_said("[GET /a]");
    assert_int_equal(w.paused, 1);
    answer(OK2);
    assert_said("(end 2)[GET /b]");
    answer(CHUNKED "hello");
    assert_said("(end 5)[HEAD /c]");
    answer("HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 7\r\n\r\n");
    assert_said("(end 0)[GET /d]");
    answer(OK2);
    assert_int_equal(w.paused, 0);
    assert_out(SENT2 "HTTP/1.1 200 OK\r\nDate: x\r\nServer: Apache\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
               "HTTP/1.1 200 OK\r\nDate: x\r\nServer: Apache\r\nContent-Length: 7\r\n\r\n" SENT2);
}

static void test_answered_at_once(void **state)
{
    (void)state;
    w.at_once = OK2;
    feed(GET("/a") GET("/b") "POST /c HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nxyz" GET("/d"));
    assert_said("[GET /a](end 2)[GET /b](end 2)[POST /c](end 2)[GET /d](end 2)");
    assert_out(SENT2 SENT2 SENT2 SENT2);
    assert_int_equal(w.closed, 0);
    feed("GET /a HTTP/1.0\r\nHost: a\r\n\r\n" GET("/never"));
    assert_int_equal(w.closed, 1);
    assert_said("[GET /a](end 2)");
}

/* However the bytes come in, the same comes out. */
static void test_split_anywhere(void **state)
{
    static const char text[] = "\r\n" GET("/a") "POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\nhello\r\n00a\r\n world and\r\n0\r\nT: 1\r\n 2\r\n\r\n"
                               "PUT /c HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody\r\n" GET("/d");
    char piece[sizeof text];

    tear_down(state);
    for (size_t split = 0; split < sizeof text; split++) {
        set_up(state);
        for (int part = 0; part < 2; part++) {
            size_t from = part ? split : 0, to = part ? sizeof text - 1 : split;

            memcpy(piece, text + from, to - from);
            piece[to - from] = '\0';
            feed(piece);
            while (w.x && w.x->client->reading == IN_DONE) {
                answer(OK2);
            }
        }
        assert_string_equal(w.said, "[GET /a](end 2)[POST /b]hello world and$T=1 2;(end 2)[PUT /c]body$(end 2)[GET /d](end 2)");
        assert_out(SENT2 SENT2 SENT2 SENT2);
        tear_down(state);
    }
    set_up(state);
    for (size_t i = 0; i < sizeof text - 1; i++) {
        piece[0] = text[i];
        piece[1] = '\0';
        feed(piece);
        while (w.x && w.x->client->reading == IN_DONE) {
            answer(OK2);
        }
    }
    assert_string_equal(w.said, "[GET /a](end 2)[POST /b]hello world and$T=1 2;(end 2)[PUT /c]body$(end 2)[GET /d](end 2)");
    assert_out(SENT2 SENT2 SENT2 SENT2);
}

/* ---- how answers are framed ---------------------------------------------------------------------------------------------------- */

static void test_framing(void **state)
{
    static const struct {
        const char *request, *answer, *sent;
        int closes;
    } cases[] = {
        {GET("/"), CHUNKED, "HTTP/1.1 200 OK\r\nDate: x\r\nServer: Apache\r\nContent-Length: 0\r\n\r\n", 0},
        {GET("/"), "HTTP/1.1 204 No Content\r\nDate: x\r\n\r\n", "HTTP/1.1 204 No Content\r\nDate: x\r\nServer: Apache\r\n\r\n", 0},
        {GET("/"), "HTTP/1.1 304 Not Modified\r\nDate: x\r\nContent-Length: 5\r\n\r\n", "HTTP/1.1 304 Not Modified\r\nDate: x\r\nServer: Apache\r\n\r\n", 0},
        {GET("/"), "HTTP/1.1 200 OK\r\nDate: x\r\n\r\nabc", "HTTP/1.1 200 OK\r\nDate: x\r\nServer: Apache\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 0},
        {GET("/"), "HTTP/1.1 503 Later\r\nDate: x\r\nContent-Length: 2\r\n\r\nno",
         "HTTP/1.1 503 Later\r\nDate: x\r\nServer: Apache\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno", 1},
        {"GET / HTTP/1.0\r\nHost: a\r\n\r\n", OK2, "HTTP/1.1 200 OK\r\nDate: x\r\nServer: Apache\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok", 1},
        {"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", OK2,
         "HTTP/1.1 200 OK\r\nDate: x\r\nServer: Apache\r\nContent-Length: 2\r\nKeep-Alive: timeout=5, max=100\r\nConnection: Keep-Alive\r\n\r\nok", 0},
        {"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", CHUNKED "abc",
         "HTTP/1.1 200 OK\r\nDate: x\r\nServer: Apache\r\nConnection: close\r\n\r\nabc", 1},
        {"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", CHUNKED,
         "HTTP/1.1 200 OK\r\nDate: x\r\nServer: Apache\r\nContent-Length: 0\r\nKeep-Alive: timeout=5, max=100\r\nConnection: Keep-Alive\r\n\r\n", 0},
        {"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", CHUNKED, "HTTP/1.1 200 OK\r\nDate: x\r\nServer: Apache\r\nTransfer-Encoding: chunked\r\n\r\n", 0},
        {"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\nDate: x\r\nServer: Apache\r\n\r\n", 0},
        {"HEAD / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", "HTTP/1.1 200 OK\r\nDate: x\r\n\r\n",
         "HTTP/1.1 200 OK\r\nDate: x\r\nServer: Apache\r\nKeep-Alive: timeout=5, max=100\r\nConnection: Keep-Alive\r\n\r\n", 0},
        {GET("/"), "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 2\r\n\r\ntoo much", "HTTP/1.1 200 OK\r\nDate: x\r\nServer: Apache\r\nContent-Length: 2\r\n\r\nto", 1},
        {GET("/"), "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 20\r\n\r\nless", "HTTP/1.1 200 OK\r\nDate: x\r\nServer: Apache\r\nContent-Length: 20\r\n\r\nless", 1},
    };

    tear_down(state);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        set_up(state);
        feed(cases[i].request);
        answer(cases[i].answer);
        assert_out(cases[i].sent);
        assert_int_equal(w.job != NULL, cases[i].closes);
        tear_down(state);
    }
    set_up(state);
}

static void test_keep_alive_settings(void **state)
{
    (void)state;
    w.server.keep_alive_max = 2;
    feed("GET /a HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
    answer("HTTP/1.1 204 N\r\nDate: x\r\n\r\n");
    assert_out("HTTP/1.1 204 N\r\nDate: x\r\nServer: Apache\r\nKeep-Alive: timeout=5, max=2\r\nConnection: Keep-Alive\r\n\r\n");
    feed(GET("/b"));
    answer("HTTP/1.1 204 N\r\nDate: x\r\n\r\n");
    assert_out("HTTP/1.1 204 N\r\nDate: x\r\nServer: Apache\r\n\r\n");
    feed(GET("/c"));
    answer("HTTP/1.1 204 N\r\nDate: x\r\n\r\n");
    assert_out("HTTP/1.1 204 N\r\nDate: x\r\nServer: Apache\r\nConnection: close\r\n\r\n");
    assert_non_null(w.job);
}

static void test_keep_alive_off(void **state)
{
    (void)state;
    w.server.keep_alive = 0;
    feed("GET /a HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
    answer("HTTP/1.1 204 N\r\nDate: x\r\n\r\n");
    assert_out("HTTP/1.1 204 N\r\nDate: x\r\nServer: Apache\r\nConnection: close\r\n\r\n");
    assert_non_null(w.job);
}

/* Head first, data much later, in pieces. */
static void test_slow_answer(void **state)
{
    answer_head_t head;
    field_t fields[1];

    (void)state;
    feed(GET("/a"));
    memset(&head, 0, sizeof head);
    head.status = 200;
    head.reason = (span_t){ "OK", 2 };
    head.body = BODY_CHUNKED;
    head.fields.field = fields;
    w.x->ops->head(w.x, &head);
    w.x->ops->flush(w.x);
    assert_non_null(strstr(w.out, "HTTP/1.1 200 OK\r\nDate: "));
    assert_non_null(strstr(w.out, " GMT\r\nServer: Apache\r\nTransfer-Encoding: chunked\r\n\r\n"));
    w.out_len = w.flushed = 0;
    w.welcome = 0;
    assert_int_equal(w.x->ops->data(w.x, "0123456789abcdefg", 17), 0);
    w.x->ops->flush(w.x);
    w.conn.codec->room(&w.conn);
    assert_said("[GET /a](writable)");
    w.x->ops->end(w.x, NULL);
    conn_flush(&w.conn);
    assert_out("11\r\n0123456789abcdefg\r\n0\r\n\r\n");
}

/* What httpd itself says an answer is, it says last. */
static void test_late_type(void **state)
{
    static const char type[] = "text/html";
    answer_head_t head = { .status = 200, .reason = { "OK", 2 }, .body = BODY_CHUNKED };
    field_t fields[2] = { { .name = { "Date", 4 }, .value = { "x", 1 }, .known = FIELD_DATE },
                          { .name = { "Content-Type", 12 }, .value = { type, 9 }, .known = FIELD_CONTENT_TYPE } };

    (void)state;
    head.fields = (fields_t){ .field = fields, .count = 2 };
    head.fields.first[FIELD_DATE] = 1;
    head.fields.first[FIELD_CONTENT_TYPE] = 2;
    feed(GET("/a"));
    w.x->ops->head(w.x, &head);
    w.x->ops->end(w.x, NULL);
    conn_flush(&w.conn);
    assert_out("HTTP/1.1 200 OK\r\nDate: x\r\nServer: Apache\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n");
    w.type = type;
    feed("GET /b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    w.x->ops->head(w.x, &head);
    w.x->ops->end(w.x, NULL);
    conn_flush(&w.conn);
    assert_out("HTTP/1.1 200 OK\r\nDate: x\r\nServer: Apache\r\nContent-Length: 0\r\nConnection: close\r\nContent-Type: text/html\r\n\r\n");
}

static void test_interim(void **state)
{
    answer_head_t head = { .status = 103, .reason = { "Early Hints", 11 } };

    feed(GET("/a"));
    w.x->ops->interim(w.x, &head);
    head.status = 100;
    w.x->ops->interim(w.x, &head); /* nobody asked */
    answer(OK2);
    assert_out("HTTP/1.1 103 Early Hints\r\n\r\n" SENT2);
    tear_down(state);
    set_up(state);
    feed("GET /a HTTP/1.0\r\nHost: a\r\n\r\n");
    head.status = 103;
    w.x->ops->interim(w.x, &head);
    assert_out("");
}

static void test_abort(void **state)
{
    (void)state;
    feed(GET("/a"));
    tell(w.x, CHUNKED "half", 0);
    w.x->ops->abort(w.x);
    conn_flush(&w.conn);
    assert_out("HTTP/1.1 200 OK\r\nDate: x\r\nServer: Apache\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
    feed(GET("/never"));
    run_job();
    assert_int_equal(w.closed, 1);
    assert_int_equal(w.begun, 1);
}

/* ---- bodies -------------------------------------------------------------------------------------------------------------------- */

static void test_back_pressure(void **state)
{
    (void)state;
    w.takes = 3;
    feed("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\n12345678");
    assert_said("[POST /a]123");
    assert_int_equal(w.paused, 1);
    assert_int_equal(w.in_len, 5);
    w.x->ops->body_room(w.x);
    pump();
    assert_said("456");
    w.x->ops->body_room(w.x);
    pump();
    assert_said("78$");
    answer(OK2);
    w.takes = 4;
    feed("POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n123456\r\n3\r\n789\r\n0\r\n\r\n" GET("/c"));
    assert_said("(end 2)[POST /b]1234");
    w.x->ops->body_room(w.x);
    pump();
    assert_said("56789$");
    answer(OK2);
    assert_said("(end 2)[GET /c]");
}

static void test_expect(void **state)
{
    answer_head_t head = { .status = 100, .reason = { "Continue", 8 } };

    feed("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    assert_int_equal(w.phase, CONN_ANSWER);
    w.x->ops->interim(w.x, &head);
    w.x->ops->flush(w.x);
    assert_int_equal(w.phase, CONN_BODY);
    assert_out("HTTP/1.1 100 Continue\r\n\r\n");
    feed("body");
    assert_said("[POST /a]body$");
    answer(OK2);
    assert_out(SENT2);
    tear_down(state);
    /* an answer without asking for the body: nobody knows whether it comes */
    set_up(state);
    feed("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    answer("HTTP/1.1 403 No\r\nDate: x\r\nContent-Length: 0\r\n\r\n");
    assert_out("HTTP/1.1 403 No\r\nDate: x\r\nServer: Apache\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    assert_non_null(w.job);
    tear_down(state);
    set_up(state);
    feed("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\nbo");
    assert_int_equal(w.phase, CONN_BODY);
    feed("dy");
    assert_said("[POST /a]body$");
    w.x->ops->interim(w.x, &head);
    w.x->ops->interim(w.x, &head); /* once is enough */
    answer(OK2);
    assert_out("HTTP/1.1 100 Continue\r\n\r\n" SENT2);
}

static void test_early_answer(void **state)
{
    (void)state;
    feed("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\n1234");
    answer(OK2);
    assert_said("[POST /a]1234(end 2)");
    assert_out(SENT2);
    feed("5678" GET("/b"));
    assert_said("[GET /b]");
    answer(OK2);
    feed("POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n12");
    answer(OK2);
    feed("34\r\n0\r\n\r\n");
    assert_int_equal(w.phase, CONN_IDLE);
    feed("POST /d HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n12");
    answer(OK2);
    feed("34bad\n");
    assert_int_equal(w.closed, 1);
}

static void test_bad_bodies(void **state)
{
    static const struct {
        const char *body, *said;
    } bad[] = {
        {"5\r\nhello0\r\n", "[POST /a]hello(bad 400)(end 0)"}, {"x\n", "[POST /a](bad 400)(end 0)"}, {"8000000000000000\r\n", "[POST /a](bad 413)(end 0)"},
        {"0\r\nA b: c\r\n\r\n", "[POST /a](bad 400)(end 0)"}, {"1\nx", "[POST /a](bad 400)(end 0)"},
    };

    tear_down(state);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        set_up(state);
        feed("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        feed(bad[i].body);
        assert_said(bad[i].said);
        assert_int_equal(w.lent, 1);
        assert_non_null(strstr(w.classic, i == 2 ? "|413|gone|env" : "|400|gone|env"));
        assert_non_null(strstr(w.classic, "|POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n|"));
        tear_down(state);
    }
    set_up(state);
}

/* ---- the classic plane --------------------------------------------------------------------------------------------------------- */

static void test_classic(void **state)
{
    (void)state;
    feed("GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n" GET("/b"));
    assert_string_equal(w.classic, "not a plain head||0|");
    assert_int_equal(w.in_len, 35 + strlen(GET("/b")));
    w.in_len = strlen(GET("/b"));
    memcpy(w.in, GET("/b"), w.in_len);
    give_back();
    assert_said("[GET /b]");
    answer(OK2);
    assert_int_equal(w.phase, CONN_IDLE);
    w.unroutable = 1;
    feed(GET("/c"));
    assert_string_equal(w.classic, "no ProxyPass||0|");
    w.in_len = 0;
    w.unroutable = 0;
    give_back();
    feed("GET /d HTTP/1.0\r\n\r\n");
    assert_string_equal(w.classic, "Host names no virtual host that can be told||0|");
    w.in_len = 0;
    give_back();
    feed(GET("/e") GET("/f"));
    w.x->ops->classic(w.x, 503, NULL);
    assert_string_equal(w.classic, "an error of ours|" GET("/e") "|503||env");
    assert_int_equal(w.in_len, strlen(GET("/f"))); /* goes along */
    give_back();
    answer(OK2);
    assert_said("(end 2)[GET /e](end 0)[GET /f](end 2)");
}

static void test_large_heads(void **state)
{
    static char text[40000];
    size_t len = (size_t)sprintf(text, "GET / HTTP/1.1\r\nHost: a\r\n");

    (void)state;
    w.server.limit_req_fieldsize = 60000;
    while (len < 33000) {
        len += (size_t)sprintf(text + len, "X: %0500d\r\n", 1);
    }
    feed(text);
    assert_string_equal(w.classic, "not a plain head||0|");
    assert_int_equal(w.in_len, len);
}

/* ---- upgrades ------------------------------------------------------------------------------------------------------------------ */

static void test_tunnel(void **state)
{
    static field_t fields[MESSAGE_FIELDS_MAX];
    char text[] = "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    answer_head_t head = { .fields.field = fields };

    (void)state;
    feed("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nearly");
    assert_int_equal(w.paused, 1);
    assert_true(h1_answer(text, strlen(text), METHOD_GET, &head) > 0);
    w.x->ops->head(w.x, &head);
    w.x->ops->tunnel(w.x);
    w.x->ops->flush(w.x);
    pump();
    assert_out("HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    feed(" GET / HTTP/1.1\r\n\r\n");
    assert_said("[GET /ws]early GET / HTTP/1.1\r\n\r\n");
    w.x->ops->data(w.x, "back\r\n", 6);
    w.x->ops->flush(w.x);
    assert_out("back\r\n");
    finish();
    assert_said("$");
    w.x->ops->end(w.x, NULL);
    assert_said("(end 6)");
    run_job();
    assert_int_equal(w.closed, 1);
}

/* ---- ends ---------------------------------------------------------------------------------------------------------------------- */

static void test_half_close(void **state)
{
    (void)state;
    feed(GET("/a") GET("/b"));
    finish();
    assert_int_equal(w.closed, 0);
    answer(OK2);
    assert_int_equal(w.closed, 0);
    answer(OK2);
    assert_out(SENT2 SENT2);
    assert_said("[GET /a](end 2)[GET /b](end 2)");
    run_job();
    assert_int_equal(w.closed, 1);
}

static void test_half_close_at_once(void **state)
{
    (void)state;
    feed(GET("/a") GET("/b"));
    w.at_once = OK2;
    finish();
    answer(OK2);
    assert_out(SENT2 SENT2);
    assert_int_equal(w.closed, 1);
}

static void test_half_close_elsewhere(void **state)
{
    finish();
    assert_int_equal(w.closed, 1);
    tear_down(state);

    set_up(state);
    feed("GET / HT");
    finish();
    assert_string_equal(w.classic, "a head that ends early||0|");
    tear_down(state);

    set_up(state);
    feed(GET("/a") "GET /b");
    finish();
    answer(OK2);
    assert_string_equal(w.classic, "a head that ends early||0|");
    tear_down(state);

    set_up(state);
    feed("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\n1234");
    finish();
    assert_said("[POST /a]1234(bad 400)(end 0)");
    tear_down(state);

    /* what is kept comes before the end */
    set_up(state);
    w.takes = 3;
    feed("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\n12345678");
    finish();
    for (int i = 0; i < 2; i++) {
        w.x->ops->body_room(w.x);
        pump();
    }
    assert_said("[POST /a]12345678$");
    answer(OK2);
    assert_out(SENT2);
    assert_non_null(w.job);
    tear_down(state);

    set_up(state);
    w.takes = 3;
    feed("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\n12345");
    finish();
    w.x->ops->body_room(w.x);
    pump();
    assert_said("[POST /a]12345(bad 400)(end 0)");
}

/* The end is told after the connection was resumed and before what it keeps was given; or while the classic plane had it. */
static void test_half_close_before_what_is_kept(void **state)
{
    feed(GET("/a") "POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
    w.in_codec = 1; /* nothing is given yet */
    answer(OK2);
    finish();
    assert_int_equal(w.lent | w.closed, 0);
    w.in_codec = 0;
    pump();
    assert_said("[GET /a](end 2)[POST /b]body$");
    answer(OK2);
    run_job();
    assert_int_equal(w.closed, 1);
    tear_down(state);

    set_up(state);
    feed("GET /a HT");
    finish();
    assert_int_equal(w.lent, 1);
    give_back();
    assert_int_equal(w.closed, 0);
    tear_down(state);

    set_up(state);
    w.takes = 2;
    feed("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
    w.in_codec = 1;
    w.x->ops->body_room(w.x);
    finish();
    w.in_codec = 0;
    pump();
    assert_said("[POST /a]body$");
    answer(OK2);
    run_job();
}

static void test_gone(void **state)
{
    (void)state;
    feed("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\n1234");
    w.closed = 1;
    w.conn.codec->closed(&w.conn);
    assert_said("[POST /a]1234(gone)(end 0)");
}

/* The close that was asked for comes too late: the client was faster. */
static void test_gone_before_the_job(void **state)
{
    (void)state;
    feed("GET /a HTTP/1.0\r\nHost: a\r\n\r\n");
    answer(OK2);
    assert_non_null(w.job);
    w.closed = 1;
    w.conn.codec->closed(&w.conn);
    run_job();
}

static void test_drain(void **state)
{
    feed(GET("/a"));
    w.conn.draining = 1;
    w.conn.codec->drain(&w.conn);
    assert_int_equal(w.closed, 0);
    answer(OK2);
    assert_out("HTTP/1.1 200 OK\r\nDate: x\r\nServer: Apache\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    run_job();
    assert_int_equal(w.closed, 1);
    tear_down(state);
    set_up(state);
    w.conn.draining = 1;
    w.conn.codec->drain(&w.conn);
    assert_int_equal(w.closed, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_keep_alive), TEST(test_pipelined), TEST(test_answered_at_once), TEST(test_framing), TEST(test_keep_alive_settings), TEST(test_keep_alive_off),
        TEST(test_slow_answer), TEST(test_late_type), TEST(test_interim), TEST(test_abort), TEST(test_back_pressure), TEST(test_expect), TEST(test_early_answer),
        TEST(test_bad_bodies), TEST(test_classic), TEST(test_large_heads), TEST(test_tunnel), TEST(test_half_close), TEST(test_half_close_at_once),
        TEST(test_half_close_elsewhere), TEST(test_half_close_before_what_is_kept), TEST(test_gone), TEST(test_gone_before_the_job), TEST(test_drain), TEST(test_split_anywhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

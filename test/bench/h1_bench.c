/*
 * h1_bench.c - nanoseconds per head of HTTP/1.1: read from clients and members, written for both.
 *
 *     make -f apxs.mk bench_programs && build/bench/h1_bench
 *
 * One thread, everything in the processor's cache.
 */
#include <stdio.h>
#include <string.h>

#include "gate_time.h"
#include "h1_parse.h"
#include "h1_write.h"

#define ROUND_USEC 50000
#define ROUNDS 7

static field_t fields[MESSAGE_FIELDS_MAX];
static const h1_limits_t limits = { 8190, 8190, 100 };
static char out[8192];
static volatile size_t sink;

static const char wrk[] = "GET /index.html HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n";

static const char browser[] =
    "GET /assets/app/main.css?v=20240117 HTTP/1.1\r\n"
    "Host: www.example.org\r\n"
    "Connection: keep-alive\r\n"
    "sec-ch-ua: \"Not_A Brand\";v=\"8\", \"Chromium\";v=\"120\", \"Google Chrome\";v=\"120\"\r\n"
    "sec-ch-ua-mobile: ?0\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36\r\n"
    "sec-ch-ua-platform: \"Linux\"\r\n"
    "Accept: text/css,*/*;q=0.1\r\n"
    "Sec-Fetch-Site: same-origin\r\n"
    "Sec-Fetch-Mode: no-cors\r\n"
    "Sec-Fetch-Dest: style\r\n"
    "Referer: https://www.example.org/products/list?page=3\r\n"
    "Accept-Encoding: gzip, deflate, br\r\n"
    "Accept-Language: en-US,en;q=0.9,de;q=0.8\r\n"
    "Cookie: session=4f8a9c0d2b7e4a51b3c6d8e9f0a1b2c3; theme=dark; _ga=GA1.1.1234567890.1705500000\r\n"
    "If-None-Match: \"65a7f1c2-1a2b\"\r\n"
    "\r\n";

static char answer[] =
    "HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Wed, 17 Jan 2024 14:00:00 GMT\r\nContent-Type: text/css\r\nContent-Length: 1024\r\n"
    "Last-Modified: Wed, 17 Jan 2024 13:00:00 GMT\r\nConnection: keep-alive\r\nETag: \"65a7f1c2-400\"\r\nCache-Control: max-age=3600\r\n"
    "Accept-Ranges: bytes\r\n\r\n";

static void read_wrk(void)
{
    request_head_t head;

    head.fields.field = fields;
    sink += (size_t)h1_request(wrk, sizeof wrk - 1, &limits, &head);
}

static void read_browser(void)
{
    request_head_t head;

    head.fields.field = fields;
    sink += (size_t)h1_request(browser, sizeof browser - 1, &limits, &head);
}

static void read_answer(void)
{
    answer_head_t head;

    head.fields.field = fields;
    sink += (size_t)h1_answer(answer, sizeof answer - 1, METHOD_GET, &head);
}

static request_head_t a_request;
static answer_head_t an_answer;
static field_t request_fields[MESSAGE_FIELDS_MAX], answer_fields[MESSAGE_FIELDS_MAX];

static void write_ask(void)
{
    member_ask_t ask = { .method = a_request.method, .target = a_request.target, .fields = &a_request.fields, .host = { "127.0.0.1:9001", 14 },
                     .forwarded_for = { "192.168.17.23", 13 }, .forwarded_host = a_request.host, .forwarded_server = { "www.example.org", 15 } };

    sink += h1_ask_room(&ask) <= sizeof out ? h1_ask_write(out, &ask) : 0;
}

static void write_reply(void)
{
    h1_reply_t reply = { .method = METHOD_GET, .server = { "Apache", 6 } };
    h1_ending_t ending = { .keep_alive = 1, .say = 1, .timeout_s = 5, .left = 100 };
    size_t len = h1_reply_room(&an_answer, &reply) <= sizeof out - H1_ENDING_ROOM ? h1_reply_write(out, &an_answer, &reply) : 0;

    sink += len + h1_ending_write(out + len, &ending);
}

/* Best of some rounds: the others were disturbed. */
static double measure(void (*once)(void))
{
    double best = 1e9;

    for (int round = 0; round < ROUNDS; round++) {
        int64_t begin = gate_mono_usec(), end;
        uint64_t times = 0;
        double ns;

        do {
            for (int n = 0; n < 500; n++, times++) {
                once();
            }
            end = gate_mono_usec();
        } while (end - begin < ROUND_USEC);
        ns = (double)(end - begin) * 1000 / (double)times;
        best = ns < best ? ns : best;
    }
    return best;
}

int main(void)
{
    a_request.fields.field = request_fields;
    an_answer.fields.field = answer_fields;
    if (h1_request(browser, sizeof browser - 1, &limits, &a_request) <= 0 || h1_answer(answer, sizeof answer - 1, METHOD_GET, &an_answer) <= 0) {
        fprintf(stderr, "h1_bench: its own heads are not accepted\n");
        return 1;
    }
    printf("read a request of wrk, %zu bytes      %7.1f ns\n", sizeof wrk - 1, measure(read_wrk));
    printf("read a request of a browser, %zu bytes %6.1f ns\n", sizeof browser - 1, measure(read_browser));
    printf("read an answer, %zu bytes              %6.1f ns\n", sizeof answer - 1, measure(read_answer));
    printf("write that request for a member         %6.1f ns\n", measure(write_ask));
    printf("write that answer for a client          %6.1f ns\n", measure(write_reply));
    return 0;
}

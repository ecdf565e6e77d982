/*
 * block.h - the head of an answer as text, ready to be sent again and again: only its age and what is left of its freshness change.
 * Depends: APR tables.   Memory: gate_block_build() uses the pool for scratch only; text goes where the caller says.   Locking: none, pure.
 */
#ifndef GATE_CACHE_BLOCK_H
#define GATE_CACHE_BLOCK_H

#include <stddef.h>
#include <stdint.h>
#include <apr_pools.h>
#include <apr_tables.h>

#define GATE_BLOCK_NUMBERS 48     /* bytes that the two numbers may add */

/* Text with two holes: where Age's value and the ttl of Cache-Status go. */
typedef struct {
    uint32_t len, line_len;       /* line_len: of the status line */
    uint32_t fields_at;           /* behind Date and Server: where the table's fields begin */
    uint32_t age_at, ttl_at;      /* age_at <= ttl_at */
    uint32_t length_at;           /* where the line of Content-Length begins; it is the last one. len if there is none */
} gate_block_t;

/**
 * Writes "HTTP/1.1 STATUS" and the fields as httpd's header filter does for a proxied answer: Date and Server first, then the table as it is
 * with Vary's members joined, each once.
 * @param status_line  "200 OK"
 * @param banner       for an answer without Server; "" or NULL: none
 * @param fields       the answer's; Age and Cache-Status with a ttl must be there, Content-Length last if at all
 * @return the block with .len set; .len 0: it does not fit into `room`, or the fields are not such
 */
gate_block_t gate_block_build(apr_pool_t *p, const char *status_line, const char *banner, const apr_table_t *fields, char *to,
                              size_t room);

/**
 * Puts block and numbers together.
 * @param line    another status line, CRLF included (a 304), or NULL
 * @param upto    how much of the block: .len or .length_at
 * @param to      room for upto + line + GATE_BLOCK_NUMBERS
 * @return bytes written; *line_len is set
 */
uint32_t gate_block_write(const gate_block_t *block, const char *text, const char *line, uint32_t upto, int64_t age, int64_t ttl,
                          char *to, uint32_t *line_len);

#endif

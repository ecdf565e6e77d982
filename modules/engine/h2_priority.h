/*
 * h2_priority.h - how urgent an answer is, as the client (Priority field, PRIORITY_UPDATE) and the member (Priority field) say.
 * Depends: libc.   LOGIC: knows no httpd.   Memory: none.   Locking: none.
 * Sources: RFC 9218, 4 and 8 (urgency u, incremental i; the member's word goes before the client's, parameter by parameter), RFC 8941, 3.2
 * (dictionaries).
 */
#ifndef ENGINE_H2_PRIORITY_H
#define ENGINE_H2_PRIORITY_H

#include <stddef.h>
#include <stdint.h>

#define H2_URGENCY_USUAL 3

typedef struct {
    int8_t urgency;             /* 0 (first) to 7; -1: not said */
    int8_t incremental;         /* 0, 1; -1: not said */
} h2_priority_t;

#define H2_PRIORITY_UNSAID ((h2_priority_t){ -1, -1 })

/**
 * What a field's value says. Parameters of another name, of the wrong type or out of range say nothing (RFC 9218, 4).
 * @param to changed where something is said; a value that is no dictionary changes nothing
 * @return 0: it is no dictionary
 */
int h2_priority_parse(const char *at, size_t len, h2_priority_t *to);
/** @return with both parameters set */
h2_priority_t h2_priority_merge(h2_priority_t client, h2_priority_t member);
/** The value of "Priority" in a head of HTTP/1.1 text, as a client's word. */
h2_priority_t h2_priority_of_head(const char *text, size_t len);

#endif

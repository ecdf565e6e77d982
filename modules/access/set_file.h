/*
 * set_file.h - reads the text of a set: one prefix or address a line.
 * Depends: ipset.h.   Memory: only the builder's.   Locking: none.
 *
 * Blank lines, and everything after '#' or ';', mean nothing. '!' before a prefix takes it out of the set.
 * Anything else is an error, and then the builder is good for nothing but destroy().
 */
#ifndef GATE_ACCESS_SET_FILE_H
#define GATE_ACCESS_SET_FILE_H

#include <stddef.h>
#include <stdint.h>
#include "ipset.h"

#define GATE_SET_WORD 64

typedef struct {
    uint64_t line;            /* of the error; 0: none */
    char what[GATE_SET_WORD]; /* the word it stumbled over, made printable, cut to fit */
    const char *why;          /* sentence part, static */
    uint64_t odd_lines;       /* prefixes whose host bits were cleared */
    uint64_t odd_line;        /* the first of them, and what it was read as */
    char odd_what[GATE_SET_WORD];
    char odd_as[GATE_ADDRESS_TEXT];
} gate_set_file_t;

/** @return 0, or -1 with line, what and why filled in */
int gate_set_file_read(gate_ipset_builder_t *builder, const char *text, size_t len, gate_set_file_t *out);

/** Makes len bytes printable: control characters and bytes above 126 become '?', and a cut ends in "...". @return out */
const char *gate_set_file_word(const char *text, size_t len, char out[GATE_SET_WORD]);

#endif

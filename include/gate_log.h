/*
 * gate_log.h - message ids. One number per place in the code, never used again for another; text may improve, the number stays.
 * modules/NAME/log_ids says of each: level, meaning, what we do next, what the operator does.
 * Blocks: core 0001-0199, upstream 0200-0499, health 0500-0699, cache 0700-0999, access 1000-1199, status 1200-1399, engine 1400-1799.
 */
#ifndef GATE_LOG_H
#define GATE_LOG_H

#define GATE_LOGNO(n) "GATE" #n ": "

#endif

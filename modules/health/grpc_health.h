/*
 * grpc_health.h - the two messages of the gRPC health checking protocol (grpc.health.v1), by hand: a request with one text,
 * an answer with one number.
 * Depends: libc only.   Memory: the caller's.   Locking: none, pure.
 * Sources: gRPC over HTTP/2 (length-prefixed messages), GRPC Health Checking Protocol, Protocol Buffers encoding.
 */
#ifndef GRPC_HEALTH_H
#define GRPC_HEALTH_H

#include <stddef.h>

#define GRPC_SERVICE_MAX 120                        /* a length of one byte */
#define GRPC_REQUEST_MAX (5 + 2 + GRPC_SERVICE_MAX)
#define GRPC_PATH "/grpc.health.v1.Health/Check"

enum { GRPC_UNKNOWN = 0, GRPC_SERVING = 1, GRPC_NOT_SERVING = 2, GRPC_SERVICE_UNKNOWN = 3 };

/**
 * The framed HealthCheckRequest.
 * @param service  "" asks for the server as a whole; at most GRPC_SERVICE_MAX characters
 * @param out      GRPC_REQUEST_MAX bytes
 * @return its length, 0 when the name is too long
 */
size_t grpc_health_ask(const char *service, unsigned char *out);

/** @return ServingStatus of a framed HealthCheckResponse; -1 when it is none (cut off, compressed, two frames, ..) */
int grpc_health_answer(const unsigned char *data, size_t len);

const char *grpc_health_word(int serving); /* "SERVING", "NOT_SERVING", .. */

#endif

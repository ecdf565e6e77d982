/*
 * gate_view_request.h - a view of a request that runs through httpd's phases (the classic plane).
 */
#ifndef GATE_VIEW_REQUEST_H
#define GATE_VIEW_REQUEST_H

#include <httpd.h>

#include "gate_view.h"

/**
 * Fills a view; valid as long as r, and as long as r's URI, headers and client address stay what they are (after mod_remoteip: from
 * post_read_request on, ordered after it). The view of an internal redirect or subrequest is of that request.
 */
void gate_view_of(request_rec *r, gate_view_t *view);

#endif

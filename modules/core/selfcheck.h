/* selfcheck.h - `SetHandler gate-selfcheck`: walks every zone of the arena and says in plain text what it found. */
#ifndef GATE_SELFCHECK_H
#define GATE_SELFCHECK_H

#include <httpd.h>

/** Handler: 200 and "ok" when all zones are sound, else 500 and the first fault. */
int selfcheck_handler(request_rec *r);

#endif

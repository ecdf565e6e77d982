/* explain.h - explain.json: what would become of a request, and why, without sending or counting anything. */
#ifndef EXPLAIN_H
#define EXPLAIN_H

#include <httpd.h>

#define EXPLAIN_NOTE "gate-explain"

/** create_request hook: hands the note down to the sub-request that is looked up. */
int explain_mark(request_rec *r);

#endif

/* brief.h - a short summary in mod_status' page. */
#ifndef BRIEF_H
#define BRIEF_H

#include <httpd.h>

/** mod_status' optional hook: text lines with AP_STATUS_SHORT, else HTML. */
int brief_for_mod_status(request_rec *r, int flags);

#endif

/*
 * child_signals.c - a child that is told to end while it begins does so at a point where it can.
 * From its fork until the MPM has settled its signals, a child ends within the handler of SIGTERM: pools are destroyed and memory is given back
 * in the midst of what the child just did, and most of what it does then is to allocate (initgroups() asks the name services, child_init
 * reads and makes). A child that a stop meets there damages its heap and may abort. So these signals wait for the end of each step.
 */
#include <ap_mpm.h>
#include <http_config.h>
#include <mpm_common.h>
#include <pthread.h>
#include <signal.h>

#include "child_signals.h"

static sigset_t former;
static int held;

static void hold(void)
{
    sigset_t ends;

    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGHUP);
    sigaddset(&ends, SIGINT);
    held = pthread_sigmask(SIG_BLOCK, &ends, &former) == 0;
}

/* What came meanwhile is delivered before this returns. */
static void let_come(void)
{
    if (held) {
        held = 0;
        pthread_sigmask(SIG_SETMASK, &former, NULL);
    }
}

static int drop_begins(apr_pool_t *pchild, server_rec *s)
{
    (void)pchild, (void)s;
    hold();
    return OK;
}

static int drop_ends(apr_pool_t *pchild, server_rec *s)
{
    (void)pchild, (void)s;
    let_come();
    return OK;
}

static void init_begins(apr_pool_t *pchild, server_rec *s)
{
    (void)pchild, (void)s;
    hold();
}

static void init_ends(apr_pool_t *pchild, server_rec *s)
{
    (void)pchild, (void)s;
    let_come();
}

void child_signals_register(void)
{
    ap_hook_drop_privileges(drop_begins, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_drop_privileges(drop_ends, NULL, NULL, APR_HOOK_REALLY_LAST);
    ap_hook_child_init(init_begins, NULL, NULL, APR_HOOK_REALLY_FIRST - 1);
    ap_hook_child_init(init_ends, NULL, NULL, APR_HOOK_REALLY_LAST + 1);
}

/*
 * early_end.c - preloaded: tells a child to end (SIGTERM) while it drops its rights, once, and writes down where it then ends.
 * EARLY_END names a file: whoever takes it away is the one; NAME.at gets "within" or "behind".
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <grp.h>

static int chosen, within;

static void said(void)
{
    char name[4096];
    int fd;

    if (chosen) {
        snprintf(name, sizeof name, "%s.at", getenv("EARLY_END"));
        fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
        if (fd >= 0) {
            dprintf(fd, "%s\n", within ? "within" : "behind");
            close(fd);
        }
    }
}

int initgroups(const char *user, gid_t group)
{
    int (*real)(const char *, gid_t) = (int (*)(const char *, gid_t))dlsym(RTLD_NEXT, "initgroups");
    const char *flag = getenv("EARLY_END");
    int rc;

    if (flag && unlink(flag) == 0) {
        chosen = within = 1;
        atexit(said);
        kill(getpid(), SIGTERM);
    }
    rc = real(user, group);
    within = 0;
    return rc;
}

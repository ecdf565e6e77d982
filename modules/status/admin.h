/*
 * admin.h - the admin API between its two halves: who may, and what is done.
 * Memory: all in r->pool.
 */
#ifndef ADMIN_H
#define ADMIN_H

#include "visit.h"

typedef struct {
    char *text;          /* NUL-terminated */
    size_t len;
} admin_body_t;

/* What is asked for, found before anything is read or changed. */
typedef struct admin_target admin_target_t;
struct admin_target {
    const char *allow;   /* methods, for Allow; without HEAD and OPTIONS */
    int (*run)(const visit_t *visit, const admin_target_t *target, const admin_body_t *body);
    int needs_admin_to_read;
    const gate_section_t *section;
    const char *path;    /* of a section's action */
    const char *group_name, *member_id;
    uint32_t group;
};

/** groups, groups/NAME/members, groups/NAME/members/ID. @return 1 when path is one of these (target filled), else 0 */
int admin_members_find(const visit_t *visit, const char *path, admin_target_t *target);

/** Paths of sections' actions. @return as above */
int admin_actions_find(const visit_t *visit, const char *path, admin_target_t *target);

/** Counts, logs and answers a change that was not carried out. @return OK */
int admin_failed(const visit_t *visit, int status, const char *rule, const char *why);

/** Counts and logs one that was. */
void admin_done(const visit_t *visit, const char *what);

#endif

/* admin_members.c - groups and members in the admin API: see admin.h. */

#include <httpd.h>
#include <apr_strings.h>
#include <http_config.h>
#include <http_core.h>
#include <http_log.h>
#include <http_protocol.h>

#include "admin.h"
#include "admin_request.h"
#include "gate_changes.h"
#include "gate_core.h"
#include "gate_parse.h"
#include "gate_time.h"
#include "render.h"

APLOG_USE_MODULE(gate_status);

/* ---- answers ---- */

static void set_tag(const visit_t *visit, const char *tag)
{
    apr_table_setn(visit->r->err_headers_out, "ETag", apr_psprintf(visit->r->pool, "\"%s\"", tag));
}

static int answer_member(const visit_t *visit, int status, uint32_t slot)
{
    const snapshot_source_t from = status_source();
    const snapshot_member_t *member = snapshot_member(visit->r->pool, &from, slot);
    char tag[17];
    text_out_t out;

    if (!member) {
        return visit_problem(visit, HTTP_NOT_FOUND, "path", "the member is gone");
    }
    snapshot_member_tag(&member->is, tag);
    set_tag(visit, apr_pstrdup(visit->r->pool, tag));
    visit_answer(visit, status, "application/json");
    visit_write(visit, &out);
    render_json_member(&out, member);
    text_char(&out, '\n');
    text_out_end(&out);
    return OK;
}

static int answer_list(const visit_t *visit, const admin_target_t *target)
{
    const snapshot_source_t from = status_source();
    const snapshot_group_t *group = snapshot_group(visit->r->pool, &from, target->group);
    char tag[17];
    text_out_t out;

    if (!group) {
        return visit_problem(visit, HTTP_NOT_FOUND, "path", "the group is gone");
    }
    snapshot_group_tag(group, tag);
    set_tag(visit, apr_pstrdup(visit->r->pool, tag));
    visit_answer(visit, HTTP_OK, "application/json");
    visit_write(visit, &out);
    text_put(&out, "{\"group\":");
    text_json(&out, group->name);
    text_put(&out, ",\"members\":");
    render_json_members(&out, group);
    text_put(&out, "}\n");
    text_out_end(&out);
    return OK;
}

static int answer_groups(const visit_t *visit, const admin_target_t *target, const admin_body_t *body)
{
    const gate_registry_t *reg = gate_core()->registry;
    uint32_t all = gate_registry_limits(reg)->groups, version;
    gate_node_t *root = gate_node_create(visit->r->pool), *list = gate_put_list(root, "groups");
    text_out_t out;

    (void)target, (void)body;
    for (uint32_t i = 0; i < all; i++) {
        if (*gate_group_name(reg, i)) {
            gate_node_t *group = gate_put_object(list, NULL);

            gate_put_text(group, "name", gate_group_name(reg, i));
            gate_put_gauge(group, "members", gate_group_members(reg, i, NULL, 0, &version), NULL);
        }
    }
    visit_answer(visit, HTTP_OK, "application/json");
    visit_write(visit, &out);
    render_json_node(&out, root);
    text_char(&out, '\n');
    text_out_end(&out);
    return OK;
}

/* ---- changes ---- */

static int not_done(const visit_t *visit, apr_status_t rv)
{
    switch (rv) {
    case APR_ENOENT:
        return admin_failed(visit, HTTP_NOT_FOUND, "path", "the member or group is gone");
    case APR_EINVAL:
        return admin_failed(visit, HTTP_BAD_REQUEST, "field", "a configuration would not take it so: look at id, url and numbers");
    case APR_ENOSPC:
        return admin_failed(visit, HTTP_INSUFFICIENT_STORAGE, "room", "there is no room for another change: 1024 are remembered, and "
                            "places of removed members are free after a minute; put what is to stay into the configuration");
    default:
        return admin_failed(visit, HTTP_SERVICE_UNAVAILABLE, "busy", "what is shared could not be locked; try again");
    }
}

/* An id that no member of the group has: host:port as in the configuration, else r1, r2, ... */
static const char *free_id(const visit_t *visit, uint32_t group, const char *member_url)
{
    gate_url_t url;

    if (!gate_parse_member_url(visit->r->pool, member_url, &url) && url.port) {
        const char *id = apr_psprintf(visit->r->pool, "%s:%u", url.host, url.port);

        if (!gate_parse_name(visit->r->pool, id) && gate_member_find(gate_core()->registry, group, id) == GATE_NO_SLOT) {
            return id;
        }
    }
    for (int i = 1;; i++) {
        const char *id = apr_psprintf(visit->r->pool, "r%d", i);

        if (gate_member_find(gate_core()->registry, group, id) == GATE_NO_SLOT) {
            return id;
        }
    }
}

/* The group's membership as If-Match of the list sees it. */
static int list_matches(const visit_t *visit, uint32_t group)
{
    const char *if_match = apr_table_get(visit->r->headers_in, "If-Match");
    const snapshot_source_t from = status_source();
    const snapshot_group_t *now;
    char tag[17];

    if (!if_match) {
        return 1;
    }
    now = snapshot_group(visit->r->pool, &from, group);
    if (!now) {
        return 0;
    }
    snapshot_group_tag(now, tag);
    return admin_if_match(if_match, tag);
}

static int changed_meanwhile(const visit_t *visit)
{
    return admin_failed(visit, HTTP_PRECONDITION_FAILED, "if-match", "somebody changed it meanwhile: look again, then decide");
}

static int add_member(const visit_t *visit, const admin_target_t *target, const admin_body_t *body)
{
    apr_pool_t *p = visit->r->pool;
    admin_member_t member;
    const char *err = admin_member_new(p, body->text, body->len, &member);
    uint32_t slot = GATE_NO_SLOT;
    apr_status_t rv;

    if (err) {
        return admin_failed(visit, HTTP_BAD_REQUEST, "field", err);
    }
    if (!list_matches(visit, target->group)) {
        return changed_meanwhile(visit);
    }
    if (!member.spec.id) {
        member.spec.id = free_id(visit, target->group, member.spec.url);
    }
    rv = gate_change_add(gate_core()->changes, target->group, &member.spec, visit->who, gate_mono_usec(), &slot);
    if (rv == APR_EEXIST) {
        return admin_failed(visit, HTTP_CONFLICT, "id", apr_psprintf(p, "the group has a member '%s' already", member.spec.id));
    }
    if (rv != APR_SUCCESS) {
        return not_done(visit, rv);
    }
    apr_table_setn(visit->r->err_headers_out, "Location",
                   apr_pstrcat(p, visit->base, "api/v1/groups/", ap_escape_path_segment(p, target->group_name), "/members/",
                               ap_escape_path_segment(p, member.spec.id), NULL));
    admin_done(visit, apr_psprintf(p, "group %s: member %s (%s) added", target->group_name, member.spec.id,
                                   ap_escape_logitem(p, member.spec.url)));
    return answer_member(visit, HTTP_CREATED, slot);
}

static const char *state_word(uint32_t verdict)
{
    return verdict & GATE_VERDICT_DRAIN ? "drain" : verdict ? "disabled" : "up";
}

static int patch_member(const visit_t *visit, const admin_target_t *target, const admin_body_t *body, const gate_member_t *is)
{
    apr_pool_t *p = visit->r->pool;
    gate_changes_t *changes = gate_core()->changes;
    apr_status_t rv = APR_SUCCESS;
    admin_member_t to;
    const char *err = admin_member_patch(p, body->text, body->len, &to), *what, *word;

    if (err) {
        return admin_failed(visit, HTTP_BAD_REQUEST, "field", err);
    }
    what = apr_psprintf(p, "group %s: member %s:", target->group_name, is->id);
    if (to.given & ADMIN_STATE) {
        word = state_word(to.spec.verdict);
        rv = gate_change_admin(changes, is->slot, is->incarnation, to.spec.verdict,
                               to.deadline_s ? apr_time_now() + apr_time_from_sec(to.deadline_s) : 0, visit->who,
                               apr_psprintf(p, "set to %s by %s", word, visit->who), gate_mono_usec());
        what = apr_pstrcat(p, what, " state ", word, to.deadline_s ? apr_psprintf(p, " for %u s", to.deadline_s) : "", NULL);
    }
    if (rv == APR_SUCCESS && (to.given & ADMIN_WEIGHT)) {
        rv = gate_change_weight(changes, is->slot, is->incarnation, to.spec.weight, visit->who);
        what = apr_psprintf(p, "%s weight %u", what, to.spec.weight);
    }
    if (rv != APR_SUCCESS) {
        return not_done(visit, rv);
    }
    admin_done(visit, what);
    return answer_member(visit, HTTP_OK, is->slot);
}

static int remove_member(const visit_t *visit, const admin_target_t *target, const gate_member_t *is)
{
    apr_status_t rv = gate_change_remove(gate_core()->changes, is->slot, is->incarnation, visit->who,
                                         apr_psprintf(visit->r->pool, "removed by %s", visit->who), gate_mono_usec());

    if (rv != APR_SUCCESS) {
        return not_done(visit, rv);
    }
    admin_done(visit, apr_psprintf(visit->r->pool, "group %s: member %s removed", target->group_name, is->id));
    visit_answer(visit, HTTP_NO_CONTENT, "application/json");
    return OK;
}

/* ---- ways ---- */

static int run_list(const visit_t *visit, const admin_target_t *target, const admin_body_t *body)
{
    return visit->r->method_number == M_GET ? answer_list(visit, target) : add_member(visit, target, body);
}

static int run_member(const visit_t *visit, const admin_target_t *target, const admin_body_t *body)
{
    const gate_registry_t *reg = gate_core()->registry;
    uint32_t slot = gate_member_find(reg, target->group, target->member_id);
    gate_member_t is;
    char tag[17];

    if (slot == GATE_NO_SLOT || gate_member_get(reg, slot, &is) != 0) {
        return admin_failed(visit, HTTP_NOT_FOUND, "path", "the group has no such member");
    }
    if (visit->r->method_number == M_GET) {
        return answer_member(visit, HTTP_OK, slot);
    }
    snapshot_member_tag(&is, tag);
    if (!admin_if_match(apr_table_get(visit->r->headers_in, "If-Match"), tag)) {
        return changed_meanwhile(visit);
    }
    return visit->r->method_number == M_PATCH ? patch_member(visit, target, body, &is) : remove_member(visit, target, &is);
}

int admin_members_find(const visit_t *visit, const char *path, admin_target_t *target)
{
    const char *name, *rest;

    if (strcmp(path, "groups") == 0) {
        target->allow = "GET";
        target->run = answer_groups;
        return 1;
    }
    if (strncmp(path, "groups/", 7) != 0) {
        return 0;
    }
    name = path + 7;
    rest = strchr(name, '/');
    if (!rest || strncmp(rest, "/members", 8) != 0 || (rest[8] && rest[8] != '/')) {
        return 0;
    }
    target->group_name = apr_pstrmemdup(visit->r->pool, name, (apr_size_t)(rest - name));
    target->group = gate_group_find(gate_core()->registry, target->group_name);
    if (target->group == GATE_NO_GROUP) {
        return 0;
    }
    if (!rest[8]) {
        target->allow = "GET, POST";
        target->run = run_list;
        return 1;
    }
    if (!rest[9] || strchr(rest + 9, '/')) {
        return 0;
    }
    target->member_id = rest + 9;
    target->allow = "GET, PATCH, DELETE";
    target->run = run_member;
    return 1;
}

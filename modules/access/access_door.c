/* access_door.c - the admit door of gate_access.h: bans and limits for who answers from event loops */
#include "access.h"

struct gate_access_place {
    server_rec *server;
    const access_server_t *conf;
    const access_dir_t *dir;
};

static const gate_access_place_t *place(apr_pool_t *p, void *server, void *dir_conf)
{
    gate_access_place_t *made = apr_palloc(p, sizeof *made);

    made->server = server;
    made->conf = access_server_of(server);
    made->dir = ap_get_module_config((ap_conf_vector_t *)dir_conf, &gate_access_module);
    return made;
}

static int limits(const gate_access_place_t *place)
{
    return (place->dir->limits && place->dir->limits->nelts) || (place->dir->rules && place->dir->rules->nelts);
}

static int holds(const access_trial_t *trial)
{
    for (int i = 0; i < trial->count; i++) {
        if (trial->row[i] >= 0) {
            return 1;
        }
    }
    return 0;
}

/* The limits of a place, when no ban keeps the client out. */
static void ask_limits(const gate_access_ask_t *ask, int64_t now_usec, gate_access_pass_t *pass)
{
    access_asker_t asker = { .pool = ask->pool, .client = *ask->client, .c = ask->connection, .request = ask->request,
                             .ctx = ask->ctx };
    access_ruling_t ruling;
    access_trial_t trial;

    access_judge(ask->place->dir, &asker, now_usec, &trial, &ruling);
    if (ruling.verdict == GATE_ACCESS_ADMIT || ruling.verdict == GATE_ACCESS_DELAY) {
        access_let_in(&asker, &trial, &ruling);
        pass->held = holds(&trial) ? apr_pmemdup(ask->pool, &trial, sizeof trial) : NULL;
    }
    else {
        pass->status = HTTP_TOO_MANY_REQUESTS;
    }
    pass->verdict = ruling.verdict;
    pass->wait_usec = ruling.wait_usec;
    pass->said = ruling.said;
    pass->policy = ruling.policy;
    pass->state = ruling.state;
    pass->retry_after = ruling.retry_after;
}

static void admit(const gate_access_ask_t *ask, int64_t now_usec, gate_access_pass_t *pass)
{
    const gate_access_place_t *place = ask->place;
    conn_rec *c = ask->connection;

    memset(pass, 0, sizeof *pass);
    if (place->conf->drop && place->conf->drop != access_server_of(c->base_server)->drop) {
        pass->verdict = GATE_ACCESS_DROP;
        return;
    }
    if (access_banned(c, ask->client)) {
        pass->verdict = GATE_ACCESS_BANNED;
        pass->status = HTTP_FORBIDDEN;
        pass->said = "banned";
        return;
    }
    if (place->dir->limits && place->dir->limits->nelts) {
        ask_limits(ask, now_usec, pass);
    }
}

static void report(const gate_access_place_t *place, const gate_address_t *client, int status)
{
    access_outcome(place->dir, place->server, client, status);
}

static void leave(gate_access_pass_t *pass)
{
    if (pass->held) {
        access_trial_leave(pass->held);
        pass->held = NULL;
    }
}

static const gate_access_door_t *gate_access_door(void)
{
    static const gate_access_door_t door = { place, limits, admit, report, leave };

    return &door;
}

void access_door_register(void)
{
    APR_REGISTER_OPTIONAL_FN(gate_access_door);
}

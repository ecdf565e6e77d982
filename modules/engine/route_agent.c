/* route_agent.c - which User-Agents the BrowserMatch lines name, remembered; see route_inside.h. */
#include <string.h>

#include <httpd.h>

#include "route_inside.h"

#define AGENTS 256              /* remembered; a client may make up as many as it likes */
#define AGENT_BYTES 236         /* longer ones are looked at each time */

typedef struct {
    const apr_array_header_t *patterns;
    uint16_t len;
    uint8_t matches;
    char text[AGENT_BYTES];
} agent_t;

struct route_agents {
    agent_t agent[AGENTS];
};

route_agents_t *route_agents_create(apr_pool_t *p)
{
    return apr_pcalloc(p, sizeof(route_agents_t));
}

static int look(const apr_array_header_t *patterns, const char *at, uint32_t len)
{
    int i;

    for (i = 0; i < patterns->nelts; i++) {
        if (ap_regexec_len(APR_ARRAY_IDX(patterns, i, ap_regex_t *), at, len, 0, NULL, 0) == 0) {
            return 1;
        }
    }
    return 0;
}

int route_agents_match(route_agents_t *agents, const apr_array_header_t *patterns, const span_t *agent)
{
    const char *at = agent ? agent->at : "";
    uint32_t len = agent ? agent->len : 0;
    agent_t *memo;

    if (len > AGENT_BYTES) {
        return look(patterns, at, len);
    }
    memo = &agents->agent[route_hash(at, len, (uint32_t)(uintptr_t)patterns) % AGENTS];
    if (memo->patterns != patterns || memo->len != len || memcmp(memo->text, at, len) != 0) {
        memo->matches = (uint8_t)look(patterns, at, len);
        memo->patterns = patterns;
        memo->len = (uint16_t)len;
        memcpy(memo->text, at, len);
    }
    return memo->matches;
}

/* section.c - see gate_section.h. */

#include <string.h>
#include <apr_strings.h>

#include "gate_section.h"

static const gate_section_t *sections[GATE_SECTIONS_MAX + 1];
static int section_count;

int gate_section_register(const gate_section_t *section)
{
    for (int i = 0; i < section_count; i++) {
        if (strcmp(sections[i]->name, section->name) == 0) {
            return -1;
        }
    }
    if (section_count == GATE_SECTIONS_MAX) {
        return -1;
    }
    sections[section_count++] = section;
    sections[section_count] = NULL;
    return 0;
}

const gate_section_t *const *gate_sections(void)
{
    return sections;
}

void gate_sections_clear(void)
{
    section_count = 0;
    sections[0] = NULL;
}

const gate_action_t *gate_section_action(const char *method, const char *path, const gate_section_t **section, int *known)
{
    *known = 0;
    for (int i = 0; i < section_count; i++) {
        for (const gate_action_t *a = sections[i]->actions; a && a->method; a++) {
            if (strcmp(a->path, path) != 0) {
                continue;
            }
            *known = 1;
            if (strcmp(a->method, method) == 0) {
                if (section) {
                    *section = sections[i];
                }
                return a;
            }
        }
    }
    return NULL;
}

/* ---- nodes ---- */

gate_node_t *gate_node_create(apr_pool_t *p)
{
    gate_node_t *node = apr_pcalloc(p, sizeof *node);

    node->pool = p;
    return node;
}

/* The place for a value: that of an older one with the same key, or a new one at the end. */
static gate_node_t *place(gate_node_t *into, const char *key, gate_node_e kind, const gate_metric_t *metric)
{
    gate_node_t *node = key && into->kind == GATE_NODE_OBJECT ? (gate_node_t *)gate_node_get(into, key) : NULL;

    if (node) {
        node->first = node->last = NULL;
    }
    else {
        node = gate_node_create(into->pool);
        node->key = key;
        if (into->last) {
            into->last->next = node;
        }
        else {
            into->first = node;
        }
        into->last = node;
    }
    node->kind = kind;
    node->metric = metric;
    return node;
}

const gate_node_t *gate_node_get(const gate_node_t *object, const char *key)
{
    for (const gate_node_t *n = object->first; n; n = n->next) {
        if (n->key && strcmp(n->key, key) == 0) {
            return n;
        }
    }
    return NULL;
}

void gate_put_count(gate_node_t *into, const char *key, uint64_t value, const gate_metric_t *metric)
{
    place(into, key, GATE_NODE_COUNT, metric)->v.count = value;
}

void gate_put_gauge(gate_node_t *into, const char *key, int64_t value, const gate_metric_t *metric)
{
    place(into, key, GATE_NODE_GAUGE, metric)->v.gauge = value;
}

void gate_put_real(gate_node_t *into, const char *key, double value, const gate_metric_t *metric)
{
    place(into, key, GATE_NODE_REAL, metric)->v.real = value;
}

void gate_put_text(gate_node_t *into, const char *key, const char *text)
{
    gate_node_t *node = place(into, key, text ? GATE_NODE_TEXT : GATE_NODE_NULL, NULL);

    node->v.text = text ? apr_pstrdup(into->pool, text) : NULL;
}

void gate_put_textf(gate_node_t *into, const char *key, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    place(into, key, GATE_NODE_TEXT, NULL)->v.text = apr_pvsprintf(into->pool, format, args);
    va_end(args);
}

void gate_put_flag(gate_node_t *into, const char *key, int value)
{
    place(into, key, GATE_NODE_FLAG, NULL)->v.gauge = value != 0;
}

void gate_put_time(gate_node_t *into, const char *key, int64_t wall_usec)
{
    place(into, key, GATE_NODE_TIME, NULL)->v.gauge = wall_usec;
}

void gate_put_histogram(gate_node_t *into, const char *key, const gate_histogram_t *histogram, const gate_metric_t *metric)
{
    gate_histogram_t *copy = apr_pcalloc(into->pool, sizeof *copy);

    gate_histogram_merge(copy, histogram);
    place(into, key, GATE_NODE_HISTOGRAM, metric)->v.histogram = copy;
}

gate_node_t *gate_put_object(gate_node_t *into, const char *key)
{
    return place(into, key, GATE_NODE_OBJECT, NULL);
}

gate_node_t *gate_put_list(gate_node_t *into, const char *key)
{
    return place(into, key, GATE_NODE_LIST, NULL);
}

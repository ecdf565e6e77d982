/*
 * gate_conf.h - a module's configuration from one list of fields.
 *
 * The list is written once, as a macro that applies its argument to every field:
 *     #define APP_FIELDS(F) F(int, enabled, GATE_UNSET, 0) F(const char *, name, NULL, "none")
 *                             type  field   unset       default
 * and gives the struct, create, merge and defaults:
 *     GATE_CONF_STRUCT(app_conf_t, APP_FIELDS);
 *     GATE_CONF_FUNCTIONS(app_conf, app_conf_t, APP_FIELDS)
 * which defines   static void *app_conf_create_at(apr_pool_t *p)             all fields unset
 *                 static void *app_conf_merge(apr_pool_t *p, void *b, void *o)  the inner field where it is set, else the outer
 *                 static void app_conf_defaults(app_conf_t *c)               defaults where still unset: once, last
 * Lists and maps: keep a pointer whose unset value is NULL; the inner replaces the outer.
 */
#ifndef GATE_CONF_H
#define GATE_CONF_H

#define GATE_UNSET (-1)

#define GATE_CONF_FIELD_(type, name, unset, dflt) type name;
#define GATE_CONF_CREATE_(type, name, unset, dflt) conf->name = unset;
#define GATE_CONF_MERGE_(type, name, unset, dflt) conf->name = inner->name != (unset) ? inner->name : outer->name;
#define GATE_CONF_DEFAULT_(type, name, unset, dflt) if (conf->name == (unset)) { conf->name = dflt; }

#define GATE_CONF_STRUCT(struct_t, FIELDS) typedef struct { FIELDS(GATE_CONF_FIELD_) } struct_t

#define GATE_CONF_FUNCTIONS(prefix, struct_t, FIELDS)                                     \
    static void *prefix##_create_at(apr_pool_t *pool)                                     \
    {                                                                                     \
        struct_t *conf = apr_pcalloc(pool, sizeof *conf);                                 \
        FIELDS(GATE_CONF_CREATE_)                                                         \
        return conf;                                                                      \
    }                                                                                     \
    static void *prefix##_merge(apr_pool_t *pool, void *outer_, void *inner_)             \
    {                                                                                     \
        const struct_t *outer = outer_, *inner = inner_;                                  \
        struct_t *conf = apr_pcalloc(pool, sizeof *conf);                                 \
        FIELDS(GATE_CONF_MERGE_)                                                          \
        return conf;                                                                      \
    }                                                                                     \
    static inline __attribute__((unused)) void prefix##_defaults(struct_t *conf)          \
    {                                                                                     \
        FIELDS(GATE_CONF_DEFAULT_)                                                        \
    }

#endif

/*
 * assets.h - the page's files, which are part of the module (modules/status/page/, put in by the assembler).
 */
#ifndef ASSETS_H
#define ASSETS_H

#include <stddef.h>

typedef struct {
    const char *name;    /* as asked for below the location: "page.css" */
    const char *type;    /* Content-Type */
    const char *begin, *end;
} asset_t;

/** Ended by a NULL name. */
extern const asset_t assets[];

/** @return the asset of that name, or NULL */
const asset_t *asset_find(const char *name);

/** index.html, which render_html.c fills in. */
extern const asset_t asset_page;

#endif

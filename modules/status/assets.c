/* assets.c - see assets.h. Paths are from the top folder, where the compiler runs. */

#include <string.h>

#include "assets.h"

#define ASSET(symbol, file)                                   \
    __asm__(".pushsection .rodata\n"                          \
            ".global gate_asset_" #symbol "\n"                \
            ".hidden gate_asset_" #symbol "\n"                \
            "gate_asset_" #symbol ":\n"                       \
            ".incbin \"modules/status/page/" file "\"\n"      \
            ".global gate_asset_" #symbol "_end\n"            \
            ".hidden gate_asset_" #symbol "_end\n"            \
            "gate_asset_" #symbol "_end:\n"                   \
            ".byte 0\n"                                       \
            ".popsection\n");                                 \
    extern const char gate_asset_##symbol[] __attribute__((visibility("hidden"))); \
    extern const char gate_asset_##symbol##_end[] __attribute__((visibility("hidden")))

ASSET(index, "index.html");
ASSET(icon, "icon.svg");
ASSET(css, "page.css");
ASSET(app, "app.js");
ASSET(model, "model.js");
ASSET(view, "view.js");
ASSET(actions, "actions.js");
ASSET(openapi, "openapi.json");

#define SCRIPT "text/javascript; charset=utf-8"

const asset_t asset_page = { "", "text/html; charset=utf-8", gate_asset_index, gate_asset_index_end };

const asset_t assets[] = {
    { "icon.svg", "image/svg+xml", gate_asset_icon, gate_asset_icon_end },
    { "page.css", "text/css; charset=utf-8", gate_asset_css, gate_asset_css_end },
    { "app.js", SCRIPT, gate_asset_app, gate_asset_app_end },
    { "model.js", SCRIPT, gate_asset_model, gate_asset_model_end },
    { "view.js", SCRIPT, gate_asset_view, gate_asset_view_end },
    { "actions.js", SCRIPT, gate_asset_actions, gate_asset_actions_end },
    { "openapi.json", "application/json", gate_asset_openapi, gate_asset_openapi_end },
    { NULL, NULL, NULL, NULL }
};

const asset_t *asset_find(const char *name)
{
    for (const asset_t *a = assets; a->name; a++) {
        if (strcmp(a->name, name) == 0) {
            return a;
        }
    }
    return NULL;
}

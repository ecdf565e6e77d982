/* state_keep.c - who owns the sections of the state file, when it is loaded and when saved; see gate_state_file.h. */
#include <stdatomic.h>
#include <string.h>

#include <apr_strings.h>

#include "gate_state_file.h"

#define LOAD_WAIT_USEC (10 * INT64_C(1000000))

static const gate_state_section_t *sections[GATE_STATE_SECTIONS];
static int section_count;

int gate_state_register(const gate_state_section_t *section)
{
    for (int i = 0; i < section_count; i++) {
        if (strcmp(sections[i]->name, section->name) == 0) {
            return -1;
        }
    }
    if (section_count == GATE_STATE_SECTIONS) {
        return -1;
    }
    sections[section_count++] = section;
    return 0;
}

void gate_state_sections_clear(void)
{
    section_count = 0;
}

void gate_state_touch(gate_state_t *state)
{
    atomic_fetch_add(&state->changes, 1);
}

static const char *join(apr_pool_t *p, const char *said, const char *more)
{
    return said ? apr_pstrcat(p, said, "; ", more, NULL) : more;
}

static const char *load_sections(const gate_state_file_t *file, apr_pool_t *p)
{
    const char *said = NULL;

    for (int i = 0; i < section_count; i++) {
        const gate_state_section_t *section = sections[i];
        const gate_state_part_t *part = gate_state_get(file, section->name);
        const char *why;

        if (!part) {
            continue;
        }
        if (part->version > section->version) {
            why = "is of a version that only a later release knows";
        }
        else {
            why = section->load(p, part->version, part->data, part->len, section->ctx);
        }
        if (why) {
            said = join(p, said, apr_psprintf(p, "section %s %s", section->name, why));
        }
    }
    return said;
}

int gate_state_load(gate_state_t *state, const char *path, apr_pool_t *p, const char **said)
{
    gate_state_file_t file;
    apr_status_t rv;

    *said = NULL;
    if (atomic_load(&state->loaded) || gate_lock_take(&state->lock, LOAD_WAIT_USEC) == GATE_LOCK_TIMEOUT) {
        return 0;
    }
    if (atomic_load(&state->loaded)) {
        gate_lock_release(&state->lock);
        return 0;
    }
    rv = gate_state_read(p, path, &file, said);
    if (rv == APR_SUCCESS) {
        *said = load_sections(&file, p);
    }
    else if (APR_STATUS_IS_ENOENT(rv)) {
        *said = NULL;
    }
    atomic_store(&state->loaded, 1);
    gate_lock_release(&state->lock);
    return *said ? -1 : 1;
}

/* Which parts of the old file nobody here knows: they stay. */
static void keep_strangers(apr_pool_t *p, const char *path, gate_state_file_t *file)
{
    const char *why;

    if (gate_state_read(p, path, file, &why) != APR_SUCCESS) {
        file->count = 0;
    }
}

apr_status_t gate_state_save(gate_state_t *state, const char *path, int64_t now_usec, int last, apr_pool_t *p, const char **why)
{
    uint64_t changes = atomic_load(&state->changes);
    gate_state_file_t file;
    apr_status_t rv;

    *why = NULL;
    if (changes == atomic_load(&state->saved) || !atomic_load(&state->loaded)) {
        return APR_SUCCESS;
    }
    if (!last && now_usec < atomic_load(&state->next_usec)) {
        return APR_SUCCESS;
    }
    if (gate_lock_take(&state->lock, last ? 1000000 : 0) == GATE_LOCK_TIMEOUT) {
        return APR_SUCCESS; /* another child is at it */
    }
    changes = atomic_load(&state->changes);
    rv = APR_SUCCESS;
    if (changes != atomic_load(&state->saved)) {
        keep_strangers(p, path, &file);
        for (int i = 0; i < section_count; i++) {
            const void *data = NULL;
            size_t len = 0;

            sections[i]->save(p, &data, &len, sections[i]->ctx);
            gate_state_put(&file, sections[i]->name, sections[i]->version, data, len);
        }
        rv = gate_state_write(p, path, &file, why);
        if (rv == APR_SUCCESS) {
            atomic_store(&state->saved, changes);
        }
        atomic_store(&state->next_usec, now_usec + (rv == APR_SUCCESS ? GATE_STATE_EVERY_USEC : GATE_STATE_RETRY_USEC));
    }
    gate_lock_release(&state->lock);
    return rv;
}

/*
 * fuzz_state_file.c - the state file: the input as a file, and the input as a file's sections behind a good checksum. What is taken
 * has parts that lie inside it.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <apr_general.h>
#include <apr_strings.h>
#include <openssl/evp.h>

#include "gate_state_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int ok)
{
    if (!ok) {
        abort();
    }
}

static void take_apart(apr_pool_t *p, const char *text, size_t len)
{
    gate_state_file_t file;
    const char *why = NULL;

    if (gate_state_parse(p, text, len, &file, &why) != APR_SUCCESS) {
        require(file.count == 0 && why != NULL);
        return;
    }
    require(file.count <= GATE_STATE_SECTIONS);
    for (int i = 0; i < file.count; i++) {
        const char *from = file.part[i].data;

        require(from >= text && file.part[i].len <= len && from + file.part[i].len <= text + len);
        require(gate_state_get(&file, file.part[i].name) == &file.part[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char head[] = "gatehouse-state 1\n";
    unsigned char digest[32];
    unsigned n = 0;
    apr_pool_t *p;
    char *text, *at;

    apr_initialize();
    apr_pool_create(&p, NULL);
    take_apart(p, (const char *)data, size);
    text = at = apr_palloc(p, size + 200);
    memcpy(at, head, sizeof head - 1);
    at += sizeof head - 1;
    memcpy(at, data, size);
    at += size;
    EVP_Digest(text, (size_t)(at - text), digest, &n, EVP_sha256(), NULL);
    memcpy(at, "end ", 4);
    at += 4;
    for (int i = 0; i < 32; i++, at += 2) {
        apr_snprintf(at, 3, "%02x", digest[i]);
    }
    *at++ = '\n';
    take_apart(p, text, (size_t)(at - text));
    apr_pool_destroy(p);
    return 0;
}

/*
 * fuzz_dns.c - answers of DNS servers: whatever they are, records are whole, names are names, and targets can be asked again.
 * The first byte says what was asked; id and question of the answer are put right, so that the rest is reached.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "dns_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int ok)
{
    if (!ok) {
        abort();
    }
}

static void check(const dns_answer_t *answer, dns_type_e type)
{
    uint8_t question[DNS_QUESTION_MAX];
    uint32_t i;

    require(answer->count <= DNS_RECORDS_MAX);
    for (i = 0; i < answer->count; i++) {
        const dns_record_t *record = &answer->record[i];

        require(record->ttl_s <= INT32_MAX);
        require(memchr(record->target, '\0', sizeof record->target) != NULL);
        if (type == DNS_SRV && *record->target) {
            require(dns_question(question, 1, record->target, DNS_A) != 0);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const dns_type_e types[] = { DNS_A, DNS_AAAA, DNS_SRV };
    static dns_answer_t answer;
    uint8_t question[DNS_QUESTION_MAX], *bytes;
    dns_type_e type;
    size_t len, asked;
    dns_answer_e result;

    if (size < 1) {
        return 0;
    }
    type = types[data[0] % 3];
    result = dns_answer(data + 1, size - 1, 0, "app.test", type, &answer);
    require((result == DNS_GOOD) == (answer.count > 0));
    check(&answer, type);

    asked = dns_question(question, 0, "app.test", type) - 11; /* without EDNS */
    len = size - 1 + asked;
    bytes = malloc(len);
    memcpy(bytes, question, asked);
    bytes[2] = 0x81;
    bytes[3] = 0x80;
    bytes[7] = (uint8_t)(data[0] >> 2);
    memcpy(bytes + asked, data + 1, size - 1);
    result = dns_answer(bytes, len, 0, "app.test", type, &answer);
    require((result == DNS_GOOD) == (answer.count > 0));
    check(&answer, type);
    free(bytes);
    return 0;
}

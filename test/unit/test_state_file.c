/*
 * test_state_file.c - the file of sections: there and back, damage of every kind refused, strangers kept, once loaded, killed writers.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <apr_general.h>
#include <apr_strings.h>
#include <cmocka.h>

#include "gate_state_file.h"

static apr_pool_t *pool;
static char directory[64];
static const char *path;
static gate_state_t *state;
static const char *kept, *kept_more;   /* what the two owners have */
static const char *got, *got_more;     /* what they were given back */
static uint32_t got_version;

static void save_one(apr_pool_t *p, const void **data, size_t *len, void *ctx)
{
    const char *text = *(const char **)ctx;

    (void)p;
    *data = text;
    *len = strlen(text);
}

static const char *load_bans(apr_pool_t *p, uint32_t version, const void *data, size_t len, void *ctx)
{
    (void)p, (void)ctx;
    got = apr_pstrmemdup(pool, data, len);
    got_version = version;
    return strcmp(got, "rubbish") == 0 ? "has rubbish in line 1" : NULL;
}

static const char *load_members(apr_pool_t *p, uint32_t version, const void *data, size_t len, void *ctx)
{
    (void)p, (void)version, (void)ctx;
    got_more = apr_pstrmemdup(pool, data, len);
    return NULL;
}

static const gate_state_section_t bans = { "bans", 2, save_one, load_bans, &kept };
static const gate_state_section_t members = { "members", 1, save_one, load_members, &kept_more };

static int setup(void **unused)
{
    (void)unused;
    apr_pool_create(&pool, NULL);
    strcpy(directory, "/tmp/gate-state-XXXXXX");
    if (!mkdtemp(directory)) {
        return -1;
    }
    path = apr_pstrcat(pool, directory, "/state", NULL);
    state = mmap(NULL, sizeof *state, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    gate_state_sections_clear();
    got = got_more = NULL;
    return state == MAP_FAILED ? -1 : 0;
}

static int teardown(void **unused)
{
    (void)unused;
    unlink(path);
    unlink(apr_pstrcat(pool, path, ".new", NULL));
    rmdir(directory);
    munmap(state, sizeof *state);
    apr_pool_destroy(pool);
    return 0;
}

static void start_anew(void)
{
    memset(state, 0, sizeof *state);
    got = got_more = NULL;
    got_version = 0;
}

static void save_now(int64_t now)
{
    const char *why;

    gate_state_touch(state);
    if (gate_state_save(state, path, now, 0, pool, &why) != APR_SUCCESS) {
        fail_msg("%s", why);
    }
}

static void put_file(const char *text, size_t len)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, len, f), len);
    fclose(f);
    chmod(path, 0600);
}

static char *file_bytes(size_t *len)
{
    char *bytes = apr_palloc(pool, 100000);
    FILE *f = fopen(path, "r");

    assert_non_null(f);
    *len = fread(bytes, 1, 100000, f);
    fclose(f);
    return bytes;
}

static void test_there_and_back(void **unused)
{
    const char *said;
    struct stat st;

    (void)unused;
    gate_state_register(&bans);
    gate_state_register(&members);
    assert_int_equal(gate_state_load(state, path, pool, &said), 1); /* none yet */
    assert_null(got);
    kept = "192.0.2.1 with\nlines\n";
    kept_more = "";
    save_now(1000000);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    start_anew();
    assert_int_equal(gate_state_load(state, path, pool, &said), 1);
    assert_null(said);
    assert_string_equal(got, kept);
    assert_int_equal(got_version, 2);
    assert_string_equal(got_more, "");
    got = NULL;
    assert_int_equal(gate_state_load(state, path, pool, &said), 0); /* once */
    assert_null(got);
}

static void test_writes_are_spared(void **unused)
{
    const char *why, *said;

    (void)unused;
    gate_state_register(&bans);
    kept = "a";
    gate_state_touch(state);
    assert_int_equal(gate_state_save(state, path, 5, 0, pool, &why), APR_SUCCESS);
    assert_int_equal(access(path, F_OK), -1); /* not loaded yet: nothing may be overwritten */
    gate_state_load(state, path, pool, &said);
    save_now(10);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(gate_state_save(state, path, 99000000, 0, pool, &why), APR_SUCCESS);
    assert_int_equal(access(path, F_OK), -1); /* nothing new */
    gate_state_touch(state);
    assert_int_equal(gate_state_save(state, path, 20, 0, pool, &why), APR_SUCCESS);
    assert_int_equal(access(path, F_OK), -1); /* too soon */
    assert_int_equal(gate_state_save(state, path, 30, 1, pool, &why), APR_SUCCESS);
    assert_int_equal(access(path, F_OK), 0); /* the server ends */
}

static void test_strangers_stay(void **unused)
{
    const char *said;

    (void)unused;
    gate_state_register(&bans);
    gate_state_register(&members);
    gate_state_load(state, path, pool, &said);
    kept = "b1";
    kept_more = "m1";
    save_now(1000000);
    gate_state_sections_clear(); /* a start without the module that owns members */
    gate_state_register(&bans);
    start_anew();
    gate_state_load(state, path, pool, &said);
    kept = "b2";
    save_now(9000000);
    gate_state_register(&members);
    start_anew();
    gate_state_load(state, path, pool, &said);
    assert_string_equal(got, "b2");
    assert_string_equal(got_more, "m1");
}

static void refused(const char *part)
{
    const char *said = NULL;

    start_anew();
    assert_int_equal(gate_state_load(state, path, pool, &said), -1);
    if (!said || !strstr(said, part)) {
        fail_msg("'%s' does not say '%s'", said ? said : "nothing", part);
    }
}

/* FIELD trap 73 */
static void test_damage_is_refused(void **unused)
{
    const char *said, *why;
    gate_state_file_t file;
    size_t len;
    char *bytes;

    (void)unused;
    gate_state_register(&bans);
    gate_state_load(state, path, pool, &said);
    kept = "192.0.2.1";
    save_now(1);
    bytes = file_bytes(&len);
    for (size_t cut = 0; cut < len; cut++) {
        assert_int_equal(gate_state_parse(pool, bytes, cut, &file, &why), APR_EINVAL);
        assert_int_equal(file.count, 0);
    }
    for (size_t at = 0; at < len; at++) {
        char *copy = apr_pmemdup(pool, bytes, len);

        copy[at] ^= 0x10;
        assert_int_equal(gate_state_parse(pool, copy, len, &file, &why), APR_EINVAL);
    }
    put_file("gatehouse-state 2\nend x\n", 24);
    refused("later version");
    assert_null(got);
    put_file("hello", 5);
    refused("not a state file");
    put_file(bytes, len);
    chmod(path, 0666);
    refused("only the server's user");
    unlink(path);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    refused("cannot be read");
    assert_null(got);
}

static void test_versions_of_sections(void **unused)
{
    static gate_state_section_t later;
    const char *said;

    (void)unused;
    later = bans;
    later.version = 3;
    gate_state_register(&later);
    gate_state_load(state, path, pool, &said);
    kept = "x";
    save_now(1);
    gate_state_sections_clear();
    gate_state_register(&bans);
    refused("section bans is of a version");
    assert_null(got);
    kept = "rubbish";
    save_now(90000000);
    refused("rubbish in line 1");
}

static void test_a_place_that_cannot_be_written(void **unused)
{
    const char *why, *said;
    const char *nowhere = apr_pstrcat(pool, directory, "/none/state", NULL);

    (void)unused;
    gate_state_register(&bans);
    kept = "x";
    gate_state_load(state, nowhere, pool, &said);
    assert_null(said);
    gate_state_touch(state);
    assert_int_equal(gate_state_save(state, nowhere, 1, 0, pool, &why), ENOENT);
    assert_non_null(strstr(why, "writable"));
    assert_int_equal(gate_state_save(state, nowhere, 2, 0, pool, &why), APR_SUCCESS); /* not tried at once again */
    assert_int_equal(gate_state_save(state, nowhere, 2 + GATE_STATE_RETRY_USEC, 0, pool, &why), ENOENT);
}

static void test_names(void **unused)
{
    gate_state_file_t file = { .count = 0 };

    (void)unused;
    assert_int_equal(gate_state_put(&file, "a b", 1, "", 0), -1);
    assert_int_equal(gate_state_put(&file, "", 1, "", 0), -1);
    assert_int_equal(gate_state_put(&file, "abcdefghijklmnopqrstuvwxyz0123456789", 1, "", 0), -1);
    assert_int_equal(gate_state_put(&file, "ok-1", 1, "", 0), 0);
    assert_int_equal(gate_state_register(&bans), 0);
    assert_int_equal(gate_state_register(&bans), -1);
}

/* Writers are killed at any place: the file is always whole, and the next writer gets the lock. */
static void test_killed_writers(void **unused)
{
    const char *said, *why;
    gate_state_file_t file;

    (void)unused;
    gate_state_register(&bans);
    gate_state_load(state, path, pool, &said);
    kept = apr_pstrcat(pool, "first", NULL);
    save_now(1);
    for (int turn = 0; turn < 60; turn++) {
        pid_t pid = fork();

        if (pid == 0) {
            for (int64_t now = 10000000;; now += 10000000) {
                char *text = malloc(3001);

                memset(text, 'a' + now / 10000000 % 26, 3000);
                text[3000] = 0;
                kept = text;
                gate_state_touch(state);
                gate_state_save(state, path, now, 1, pool, &why);
            }
        }
        usleep(3000 + turn * 200);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        if (gate_state_read(pool, path, &file, &why) != APR_SUCCESS) {
            fail_msg("turn %d: %s", turn, why);
        }
    }
    kept = "last";
    gate_state_touch(state);
    assert_int_equal(gate_state_save(state, path, INT64_C(1) << 50, 1, pool, &why), APR_SUCCESS);
    start_anew();
    gate_state_load(state, path, pool, &said);
    assert_string_equal(got, "last");
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_there_and_back), TEST(test_writes_are_spared), TEST(test_strangers_stay), TEST(test_damage_is_refused),
        TEST(test_versions_of_sections), TEST(test_a_place_that_cannot_be_written), TEST(test_names), TEST(test_killed_writers)
    };

    apr_initialize();
    return cmocka_run_group_tests(tests, NULL, NULL);
}

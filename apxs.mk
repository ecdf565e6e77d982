# apxs.mk - builds the modules, the unit tests and the fuzz targets (GNU make).
#
# Per module NAME, one line per source file (a name below modules/NAME/):
#   GLUE_NAME    may call ap_*; only goes into the module
#   LOGIC_NAME   APR and libc only; goes into the module and into build/logic_NAME.a,
#                which unit tests and fuzz targets link without a server
#   LIBS_NAME    pkg-config names of the libraries it needs
#   OPTLIBS_NAME pkg-config names it uses if present (-DGATE_HAVE_<NAME IN CAPITALS>)
# A module whose mod_gate*.c is missing is not built.

# --- core: arena, registry, counters; build/modules/mod_gate.so ---------------------------
LOGIC_core += parse.c parse_words.c parse_url.c parse_args.c histogram.c event.c
LOGIC_core += changes.c changes_text.c
LOGIC_core += lock.c lease.c zone.c seat.c
LOGIC_core += registry.c members.c standing.c numbers.c roster.c
LOGIC_core += section.c group_conf.c words.c
GLUE_core += mod_gate.c selfcheck.c
GLUE_core += view_request.c child_signals.c
LOGIC_core += address.c siphash.c state_file.c state_keep.c upkeep.c
GLUE_core += state_glue.c changes_glue.c
LIBS_core = libcrypto

# --- upstream: groups, members, balancing, retries, gate:// -------------------------------
LOGIC_upstream += balance.c balance_round_robin.c balance_least_connections.c balance_two_choices.c
LOGIC_upstream += balance_least_time.c balance_first.c balance_hash.c
LOGIC_upstream += retry.c reverse.c
LOGIC_upstream += pick.c
LOGIC_upstream += errand.c errand_search.c errand_wait.c errand_tell.c errand_answer.c
GLUE_upstream += mod_gate_upstream.c upstream_config.c upstream_check.c select.c dispatch.c try.c shadow.c
GLUE_upstream += upstream_section.c door.c
GLUE_upstream += members_config.c queue_wait.c queue_ear.c sticky_glue.c discover_glue.c
GLUE_upstream += answer_filter.c backend_filter.c replay.c workers.c member_tls.c tell.c
LOGIC_upstream += sticky.c queue.c queue_line.c queue_bell.c
LOGIC_upstream += member_spec.c discover.c discover_rows.c discover_run.c dns_message.c dns_lookup.c
LIBS_upstream = libcrypto

# --- health: probes and outlier ejection --------------------------------------------------
LOGIC_health += health_state.c health_zone.c outlier.c grpc_health.c
GLUE_health += mod_gate_health.c health_config.c prober.c probe.c passive.c watch.c section.c
LIBS_health = libcurl libcrypto

# --- cache: shared-memory store, variants, purges -----------------------------------------
GLUE_cache += mod_gate_cache.c cache_config.c cache_lookup.c cache_fetch.c cache_answer.c cache_filter.c cache_member.c
GLUE_cache += cache_door.c cache_loop.c cache_direct.c
GLUE_cache += cache_bucket.c cache_wait.c cache_worker.c cache_purge.c cache_section.c
LOGIC_cache += evict.c space.c store.c store_write.c store_repair.c fill.c purge.c
LOGIC_cache += look.c block.c desk.c keep.c keep_join.c
LOGIC_cache += fields.c directives.c freshness.c key.c vary.c variant.c head.c range.c compress.c
LIBS_cache = libbrotlienc libbrotlidec zlib

# --- access: IP sets, limits, bans, geo ---------------------------------------------------
LOGIC_access += ipset.c ipset_build.c set_file.c
LOGIC_access += trial.c
LOGIC_access += lines.c limiter.c tally.c ban.c concurrency.c ipset_store.c geo.c
GLUE_access += mod_gate_access.c access_config.c access_sets.c access_zones.c access_requests.c
GLUE_access += access_door.c access_judge.c access_bans.c access_explain.c
GLUE_access += access_trust.c access_drop.c access_authz.c access_show.c
LIBS_access = libcrypto
OPTLIBS_access = libmaxminddb

# --- status: page, JSON, metrics, admin API -----------------------------------------------
LOGIC_status += text_out.c snapshot.c render_json.c render_metrics.c render_html.c assets.c
LOGIC_status += forgery.c token.c admin_request.c
GLUE_status += mod_gate_status.c visit.c reads.c explain.c brief.c
GLUE_status += admin.c admin_members.c admin_actions.c
LIBS_status = jansson libcrypto

# --- engine: the express plane ------------------------------------------------------------
LOGIC_engine += wheel.c loop.c outbox.c read_limits.c
GLUE_engine += mod_gate_engine.c engine_config.c engine_counts.c engine_parts.c loops.c takeover.c transport.c transport_filters.c conn.c conn_limits.c conn_lend.c conn_end.c
GLUE_engine += handover.c handover_read.c client_classic.c client_tls.c socket_bucket.c
LOGIC_engine += message.c h1_scan.c h1_fields.c h1_request.c h1_answer.c h1_chunk.c h1_write.c
GLUE_engine += origin_tls_conf.c
LOGIC_engine += h2_head.c h2_abuse.c h2_priority.c h2_websocket.c
GLUE_engine += client_h2.c client_h2_direct.c client_h2_stream.c client_h2_tell.c client_h2_time.c h2_secondary.c h2_negotiate.c
GLUE_engine += exchange_doors.c exchange_admit.c exchange_answer.c exchange_bypass.c
GLUE_engine += exchange_view.c exchange_ask.c exchange_answer_head.c exchange_output.c exchange_refuse.c exchange_log.c exchange_websocket.c
GLUE_engine += exchange_fetch.c
LOGIC_engine += exchange.c exchange_try.c exchange_queue.c exchange_body.c exchange_pass.c exchange_tell.c
LOGIC_engine += h2_member.c origin_session.c origin_session_in.c origin_stream.c
LOGIC_engine += origin.c origin_write.c origin_read.c origin_pool.c origin_connect.c origin_names.c origin_tls.c
LIBS_engine = libnghttp2 libssl libcrypto
LOGIC_engine += eligible_table.c eligible_rewrite.c header_ops.c
GLUE_engine += client_h1.c client_h1_read.c client_h1_tell.c
GLUE_engine += eligible.c eligible_tell.c route.c route_server.c route_path.c route_rewrite.c route_object.c route_alias.c route_agent.c route_type.c route_ready.c route_reverse.c route_request.c output.c

MODULES = core upstream health cache access status engine

# --- tools and variants -------------------------------------------------------------------
# make vars: CC=gcc|clang  WERROR=1  SAN=address,undefined|thread  FUZZ=1  O=DIR
APXS ?= apxs
PKG_CONFIG ?= pkg-config
ifeq ($(origin CC),default)
CC := $(shell $(APXS) -q CC)
endif

CLANG := $(findstring clang,$(notdir $(CC)))
ifdef FUZZ
O ?= build/fuzz
else ifneq ($(findstring thread,$(SAN)),)
O ?= build/tsan
else ifdef SAN
O ?= build/asan
else ifdef CLANG
O ?= build/clang
else
O ?= build
endif

# system headers: what their macros make of our code is not warned about (APR_RING subtracts null pointers)
APR_CPPFLAGS := $(shell $(APXS) -q EXTRA_CPPFLAGS) $(patsubst -I%,-isystem %,$(filter-out -I/usr/include,\
    $(sort $(shell apr-1-config --includes) $(shell apu-1-config --includes))))
HTTPD_CPPFLAGS := -isystem $(shell $(APXS) -q INCLUDEDIR)
APR_LIBS := $(shell apu-1-config --link-ld --libs) $(shell apr-1-config --link-ld --libs)
ALL_LIBS := $(sort $(foreach m,$(MODULES),$(LIBS_$(m))))
ALL_OPTLIBS := $(foreach l,$(sort $(foreach m,$(MODULES),$(OPTLIBS_$(m)))),$(shell $(PKG_CONFIG) --exists $(l) && echo $(l)))
LIB_CPPFLAGS := $(shell $(PKG_CONFIG) --cflags $(ALL_LIBS) $(ALL_OPTLIBS) 2>/dev/null)
LIB_CPPFLAGS += $(foreach l,$(ALL_OPTLIBS),-DGATE_HAVE_$(shell echo $(l:lib%=%) | tr a-z- A-Z_)=1)

CSTD = -std=gnu11 -fPIC -fno-plt -fno-semantic-interposition -pthread
# { NULL } ends httpd's tables; that this leaves fields out is meant
WARN = -Wall -Wextra -Wno-missing-field-initializers $(if $(WERROR),-Werror)
ifdef FUZZ
CODEGEN = -g -O1 -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address
LDSAN = -fsanitize=address
else ifdef SAN
CODEGEN = -g -O1 -fno-omit-frame-pointer -fsanitize=$(SAN) $(if $(findstring undefined,$(SAN)),-fno-sanitize-recover=undefined)
LDSAN = -fsanitize=$(SAN)
else
CODEGEN := $(shell $(APXS) -q CFLAGS) $(shell $(APXS) -q CPPFLAGS)
LDSAN =
endif
# a module's calls of its own functions go there directly, and those of others by one load: httpd loads modules with all symbols bound
LDHARD = -Wl,-z,relro -Wl,-z,now -Wl,--as-needed -Wl,-Bsymbolic-functions

# --- names of what is made ----------------------------------------------------------------
so = $(O)/modules/mod_gate$(if $(filter-out core,$(1)),_$(1)).so
obj = $(patsubst %.c,$(O)/obj/$(1)/%.o,$(2))

MODULE_NAMES = $(foreach m,$(MODULES),$(if $(wildcard modules/$(m)/mod_gate*.c),$(m)))
LOGIC_NAMES = $(foreach m,$(MODULES),$(if $(strip $(LOGIC_$(m))),$(m)))
MODULE_FILES = $(foreach m,$(MODULE_NAMES),$(call so,$(m)))
ARCHIVES = $(foreach m,$(LOGIC_NAMES),$(O)/logic_$(m).a)

UNIT_SOURCES := $(wildcard test/unit/test_*.c)
UNIT_HELP := $(filter-out $(UNIT_SOURCES),$(wildcard test/unit/*.c))
UNIT_BINS = $(UNIT_SOURCES:test/unit/%.c=$(O)/unit/%)
FUZZ_SOURCES := $(wildcard test/fuzz/fuzz_*.c)
FUZZ_BINS = $(FUZZ_SOURCES:test/fuzz/%.c=$(O)/fuzzers/%)
BENCH_SOURCES := $(wildcard test/bench/*_bench.c)
BENCH_BINS = $(BENCH_SOURCES:test/bench/%.c=$(O)/bench/%)
REPLAY_BINS = $(FUZZ_SOURCES:test/fuzz/%.c=$(O)/replay/%)
TEST_CPPFLAGS = -Iinclude $(patsubst %,-Imodules/%,$(MODULES)) -Itest/unit $(APR_CPPFLAGS) $(LIB_CPPFLAGS) \
    $(shell $(PKG_CONFIG) --cflags cmocka)
TEST_LIBS = -Wl,--start-group $(ARCHIVES) -Wl,--end-group \
    $(shell $(PKG_CONFIG) --libs $(ALL_LIBS) $(ALL_OPTLIBS) 2>/dev/null) $(APR_LIBS) -lm -lpthread

.PHONY: all modules archives unit replay fuzzers bench_programs list
.DELETE_ON_ERROR:
all: modules archives
modules: $(MODULE_FILES)
archives: $(ARCHIVES)
unit: $(UNIT_BINS)
replay: $(REPLAY_BINS)
fuzzers: $(FUZZ_BINS)
bench_programs: $(BENCH_BINS)
# what a script wants to know: one word per line
list:
	@$(if $(MODULE_NAMES),printf 'module %s\n' $(MODULE_NAMES),true)
	@$(if $(LOGIC_NAMES),printf 'logic %s\n' $(LOGIC_NAMES),true)
	@$(if $(MODULE_NAMES)$(LOGIC_NAMES),printf 'source %s\n' $(foreach m,$(MODULES),$(patsubst %,modules/$(m)/%,$(GLUE_$(m)) $(LOGIC_$(m)))),true)

# A warning seen once must not be lost: it is kept beside the object, and a WERROR build
# makes such an object again.
ifdef WERROR
$(shell [ -d $(O) ] && find $(O) -name '*.warn' -size +0 | sed 's/\.warn$$//' | xargs -r rm -f)
endif
define compile
@mkdir -p $(dir $@)
$(if $(V),,@echo "  CC $(O) $<")
$(if $(V),,@)$(CC) $(CSTD) $(CODEGEN) $(WARN) $(1) $(EXTRA_CFLAGS) -MMD -MP -MT $@ -MF $(@:.o=.d) -c -o $@ $< 2>$@.warn \
    || { cat $@.warn >&2; rm -f $@; exit 1; }; cat $@.warn >&2
endef

# LOGIC does not even see httpd's headers; GLUE does.
define module_rules
$$(call obj,$(1),$$(LOGIC_$(1))): $(O)/obj/$(1)/%.o: modules/$(1)/%.c
	$$(call compile,-Iinclude -Imodules/$(1) $$(APR_CPPFLAGS) $$(LIB_CPPFLAGS))
$$(call obj,$(1),$$(GLUE_$(1))): $(O)/obj/$(1)/%.o: modules/$(1)/%.c
	$$(call compile,-Iinclude -Imodules/$(1) $$(HTTPD_CPPFLAGS) $$(APR_CPPFLAGS) $$(LIB_CPPFLAGS))
$$(call so,$(1)): $$(call obj,$(1),$$(GLUE_$(1)) $$(LOGIC_$(1))) apxs.mk
	@mkdir -p $$(dir $$@)
	@echo "  LD $$@"
	@$$(CC) -shared -pthread $$(LDSAN) $$(LDHARD) -o $$@ $$(filter %.o,$$^) \
	    $$(shell $$(PKG_CONFIG) --libs $$(LIBS_$(1)) $$(filter $$(ALL_OPTLIBS),$$(OPTLIBS_$(1)))) -lm
$(O)/logic_$(1).a: $$(call obj,$(1),$$(LOGIC_$(1))) apxs.mk
	@rm -f $$@ && ar rcs $$@ $$(filter %.o,$$^)
-include $$(patsubst %.o,%.d,$$(call obj,$(1),$$(GLUE_$(1)) $$(LOGIC_$(1))))
endef
$(foreach m,$(MODULES),$(eval $(call module_rules,$(m))))

# the page's files are in the module
$(O)/obj/status/assets.o: $(wildcard modules/status/page/*)

# --- unit tests, fuzz targets -------------------------------------------------------------
UNIT_HELP_OBJ = $(UNIT_HELP:test/unit/%.c=$(O)/obj/unit/%.o)
$(UNIT_BINS:$(O)/unit/%=$(O)/obj/unit/%.o) $(UNIT_HELP_OBJ): $(O)/obj/unit/%.o: test/unit/%.c
	$(call compile,$(TEST_CPPFLAGS))
# compiles glue into itself, with stand-ins for the server
$(O)/obj/unit/test_client_h1.o: TEST_CPPFLAGS += $(HTTPD_CPPFLAGS)
$(FUZZ_SOURCES:test/fuzz/%.c=$(O)/obj/fuzz/%.o) $(O)/obj/fuzz/replay_main.o: $(O)/obj/fuzz/%.o: test/fuzz/%.c
	$(call compile,$(TEST_CPPFLAGS))
$(O)/unit/%: $(O)/obj/unit/%.o $(UNIT_HELP_OBJ) $(ARCHIVES)
	@mkdir -p $(dir $@)
	@$(CC) -pthread $(LDSAN) -o $@ $< $(UNIT_HELP_OBJ) $(TEST_LIBS) $(shell $(PKG_CONFIG) --libs cmocka)
$(O)/replay/%: $(O)/obj/fuzz/%.o $(O)/obj/fuzz/replay_main.o $(ARCHIVES)
	@mkdir -p $(dir $@)
	@$(CC) -pthread $(LDSAN) -o $@ $< $(O)/obj/fuzz/replay_main.o $(TEST_LIBS)
$(O)/fuzzers/%: $(O)/obj/fuzz/%.o $(ARCHIVES)
	@mkdir -p $(dir $@)
	@$(CC) -pthread -fsanitize=fuzzer,address -o $@ $< $(TEST_LIBS)
$(BENCH_SOURCES:test/bench/%.c=$(O)/obj/bench/%.o): $(O)/obj/bench/%.o: test/bench/%.c
	$(call compile,$(TEST_CPPFLAGS))
$(O)/bench/%: $(O)/obj/bench/%.o $(ARCHIVES)
	@mkdir -p $(dir $@)
	@$(CC) -pthread $(LDSAN) -o $@ $< $(TEST_LIBS)
-include $(wildcard $(O)/obj/unit/*.d $(O)/obj/fuzz/*.d $(O)/obj/bench/*.d)

#!/bin/bash
# build.sh - everything Gatehouse does from a shell. Verbs: see usage below.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")"

# who sets SECONDS for bench or soak does not mean bash's clock
wanted_seconds=$(printenv SECONDS || true)
unset SECONDS
if [ -n "$wanted_seconds" ]; then
    export SECONDS=$wanted_seconds
fi

PYTHON=/usr/bin/python3
MAKE=(make --no-print-directory -f apxs.mk "-j${JOBS:-$(nproc)}")

# Debian's packages, by what needs them.
DEPS_build="gcc make libc6-dev pkg-config apache2 apache2-dev libapr1-dev libaprutil1-dev libssl-dev libbrotli-dev
    zlib1g-dev libcurl4-openssl-dev libjansson-dev libmaxminddb-dev libnghttp2-dev"
DEPS_run="$DEPS_build python3 openssl curl procps"
DEPS_test="$DEPS_run clang libclang-rt-14-dev libcmocka-dev binutils python3-pytest python3-pytest-xdist nginx-light php-fpm wrk
    python3-h2 python3-grpcio nghttp2-client nghttp2-server iproute2 util-linux chromium fonts-dejavu-core python3-prometheus-client python3-jsonschema"
# for playwright-core, which test/browser fetches; a node from elsewhere brings its own npm
command -v npm >/dev/null || DEPS_test+=" nodejs npm"
DEPS_bench="$DEPS_run python3 nginx-light haproxy varnish wrk nghttp2-client"
DEPS_fuzz="$DEPS_build clang libclang-rt-14-dev"

usage() {
    cat <<'TEXT'
usage: ./build.sh VERB
  deps [build|run|test|bench|fuzz]
                 install what is missing with apt (as root); everything if no word is given
  build          modules into build/modules
  run            a demo on http://localhost:8080 and https://localhost:8443 (PORT=, TLS_PORT= move it)
  test [NAME]    every test, or those whose name contains NAME
  bench [ROW]    CPU per request, latency and memory, side by side with others, some minutes; "bench full": every row,
                 about 25 minutes; the table goes to build/bench/
  fuzz [NAME]    fuzz targets, SECONDS_EACH=60 seconds each
  soak           restarts, killed children and members, slow clients, on both planes: TIMES=200 restarts and kills in a row,
                 SECONDS=60 of all at once and of CLIENTS=10000 slow ones; SAN=address: with the address sanitizer
  guard          the checks of the sources alone
  install        into the httpd that apxs names (APXS=/path/to/apxs)
  clean          remove build/
TEXT
}

die() {
    echo "build.sh: $*" >&2
    exit 1
}

missing_packages() {
    local want have
    want=$(printf '%s\n' $* | sort -u)
    have=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' $want 2>/dev/null | awk '$2 == "installed" { print $1 }' | sort -u)
    comm -23 <(echo "$want") <(echo "$have")
}

# Packages of servers start them when they are installed; nobody asked for that here.
without_services() {
    local policy=/usr/sbin/policy-rc.d made=
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod 755 $policy
        made=1
    fi
    local rc=0
    "$@" || rc=$?
    if [ -n "$made" ]; then
        rm -f $policy
    fi
    return $rc
}

do_deps() {
    local sets=${1:-build run test bench fuzz} set var want= missing
    for set in $sets; do
        var=DEPS_$set
        [ -n "${!var:-}" ] || die "deps: '$set' is none of build, run, test, bench, fuzz"
        want+=" ${!var}"
    done
    command -v dpkg-query >/dev/null || die "deps: no dpkg here; install by hand what stands in DEPS_* of build.sh"
    missing=$(missing_packages $want)
    if [ -z "$missing" ]; then
        return 0
    fi
    [ "$(id -u)" = 0 ] || die "deps: these packages are missing and only root can install them:" $missing
    echo "installing:" $missing
    export DEBIAN_FRONTEND=noninteractive
    local log
    log=$(mktemp)
    if ! { apt-get update && without_services apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1; then
        cat "$log"
        rm -f "$log"
        die "deps: apt-get could not install:" $missing
    fi
    rm -f "$log"
}

do_build() {
    "${MAKE[@]}" all
}

do_install() {
    local apxs=${APXS:-apxs} libexec sysconf so name mod line
    libexec=${DESTDIR:-}$($apxs -q LIBEXECDIR)
    sysconf=${DESTDIR:-}$($apxs -q SYSCONFDIR)
    mkdir -p "$libexec" "$sysconf"
    for so in build/modules/*.so; do
        [ -e "$so" ] || die "install: nothing is built"
        install -m 644 "$so" "$libexec/"
        name=$(basename "$so" .so)
        name=${name#mod_}
        mod=${name}_module
        line="LoadModule $mod $($apxs -q LIBEXECDIR)/mod_$name.so"
        if [ ! -d "$sysconf/mods-available" ]; then
            echo "$line"
            continue
        fi
        # Debian reads all .load files in alphabetical order, then all .conf files: "proxy" comes after
        # "gate_upstream", which needs its symbols and so is loaded from the .conf file
        case $name in
        gate) echo "$line" >"$sysconf/mods-available/$name.load" ;;
        gate_upstream | gate_engine)
            echo "# Depends: gate proxy" >"$sysconf/mods-available/$name.load"
            echo "$line" >"$sysconf/mods-available/$name.conf"
            ;;
        *) printf '# Depends: gate\n%s\n' "$line" >"$sysconf/mods-available/$name.load" ;;
        esac
        echo "a2enmod $name"
    done
    mkdir -p "$sysconf/gatehouse"
    local conf
    for conf in conf.d/*; do
        # a file somebody has changed is theirs
        [ -e "$sysconf/gatehouse/$(basename "$conf")" ] || install -m 644 "$conf" "$sysconf/gatehouse/"
    done
    echo "samples: ${sysconf#"${DESTDIR:-}"}/gatehouse; the lines above load the modules"
}

do_soak() {
    local plane failed= planes=classic
    export SOAK_TIMES=${TIMES:-200} SOAK_SECONDS=${SECONDS:-60} SOAK_CLIENTS=${CLIENTS:-10000}
    if [ -n "${SAN:-}" ]; then
        export GATE_SAN=$SAN
        "${MAKE[@]}" CC=gcc SAN=address,undefined modules
    fi
    if [ -e build/modules/mod_gate_engine.so ]; then
        planes="classic express"
    fi
    for plane in $planes; do
        echo "== $plane"
        GATE_PLANE=$plane $PYTHON -m pytest -q -s --no-header -p no:cacheprovider test/httpd/test_soak.py \
            test/httpd/test_access_limits.py test/httpd/test_health_prober.py test/httpd/test_h2_crowds.py \
            -k "test_soak or killed or one_rate or many_connections or reads_nothing" || failed=1
    done
    [ -z "$failed" ]
}

do_fuzz() {
    local seconds=${SECONDS_EACH:-60} bin name seeds
    "${MAKE[@]}" CC=clang FUZZ=1 fuzzers
    for bin in build/fuzz/fuzzers/*${1:-}*; do
        [ -e "$bin" ] || die "fuzz: no target named *${1:-}*"
        name=$(basename "$bin")
        seeds=test/fuzz/seeds/${name#fuzz_}
        mkdir -p "build/fuzz/corpus/$name" "build/fuzz/found"
        echo "== $name, $seconds s"
        "$bin" -max_total_time="$seconds" -timeout=10 -print_final_stats=1 \
            -artifact_prefix="build/fuzz/found/$name-" "build/fuzz/corpus/$name" $([ -d "$seeds" ] && echo "$seeds")
    done
}

verb=${1:-}
[ $# -gt 0 ] && shift
case $verb in
deps) do_deps "$*" ;;
build)
    do_deps build
    do_build
    ;;
run)
    do_deps run
    do_build
    exec $PYTHON test/demo/demo.py
    ;;
test)
    do_deps test
    exec $PYTHON test/run_tests.py "$@"
    ;;
soak)
    do_deps test
    do_build
    do_soak
    ;;
guard) exec $PYTHON test/run_tests.py --only guard ;;
bench)
    do_deps bench
    do_build
    exec $PYTHON test/bench/bench.py "$@"
    ;;
fuzz)
    do_deps fuzz
    do_fuzz "$@"
    ;;
install)
    do_build
    do_install
    ;;
clean) rm -rf build ;;
*)
    usage
    [ -z "$verb" ] || exit 2
    ;;
esac

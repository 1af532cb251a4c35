#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Usage: scripts/test.sh [NAME…]
#
# Runs the tests and prints their results in KTAP; the last line is `N passed, N failed`. Exits with
# 0 if some passed and none failed. Without a NAME, runs all there are:
#
#     build       makes the module, and everything that the other tests need
#     lint        scripts/lint.sh, for amd64 and trixie
#     test-host   scripts/test-host.sh, for amd64 and trixie
#     demo        selftests/demo.sh, which passes or fails as a whole
#     and every program in selftests/ and its folders that has a line `# guests: …`, by its name
#     without its folder and without .sh
#
# A selftest runs in a guest of its own. It prints KTAP, and exits with 0 if it passes. Comments at
# its top declare its needs:
#
#     # guests: 1|2         with 2, it runs with the argument `a` in a guest with our module, and
#                           with `b` in one with the kernel's own; a network card joins the two
#     # module: rust|c      the module that a single guest is to load (default: rust)
#     # system: services    the system that it runs on (default: small), see SYSTEM below
#     # architectures: NAME…  amd64 (the default), arm64
#     # kernels: NAME…      the kernels that it is of use on (default: stock), see KERNEL below
#     # kasan|kcsan: TEST…  its tests that are run on that kernel, which takes several times as long
#                           (default: all)
#     # complaints: expected  the kernel is to report bugs, and the test fails if it does not
#     # append: ARGUMENTS   more kernel arguments
#     # memory: MB          default: 1024
#     # processors: N       default: 2
#     # clock: instructions the clock of a single guest counts instructions instead of time, see
#                           scripts/boot.sh
#     # timeout: SECONDS    the longest it takes on a quick machine (default: 300); several times
#                           that is granted
#
# A test fails also if its guest panics, is not done in time or prints nothing, if results are
# missing, and if the kernel reports a bug. The consoles are kept in the log folder of the cache.
#
# Two tests run concurrently, the longest first; each is shown when it has ended, with the time
# that it took.
#
# Environment: JOBS, the number of tests that run concurrently. SUITE, SERIES, ARCH and FLAVOUR, the
# kernel (default: trixie, 7.3, the machine's architecture and cloud-$ARCH). KERNEL is stock (the
# default), kasan or kcsan: the tests for that kernel are run on it (scripts/debug-kernel.sh).
# MODULE=c lets single guests load the kernel's own module instead: the selftests then ask of that
# module what they ask of ours. SYSTEM is small (the default), or services: the tests for a larger
# system, with systemd and the services that set WireGuard up, are run on it, and no others.

# shellcheck source=scripts/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
begin "$@"

declare -A files=()
names=(build)
[[ $KERNEL != stock || $SUITE-$ARCH != trixie-amd64 || $SYSTEM != small ]] || names+=(lint test-host)
for file in "$tree"/selftests/{,*/}*.sh; do
	name=$(basename "$file" .sh)
	[[ $name == demo || (-x $file && -n $(declared "$file" guests)) ]] || continue
	[[ " $(declared "$file" architectures amd64) " == *" $ARCH "* ]] || continue
	[[ $(declared "$file" system small) == "$SYSTEM" ]] || continue
	[[ " $(declared "$file" kernels stock) " == *" $KERNEL "* ]] || continue
	names+=("$name")
	files[$name]=$file
done
for name; do
	[[ " ${names[*]} " == *" $name "* ]] ||
		die "there is no test $name for $ARCH; there are: ${names[*]}"
done
[[ $# -eq 0 ]] || names=("$@")
[[ ${names[0]} == build ]] || names=(build "${names[@]}")

export SAY='# '
# A test may take this many times as long as on a quick machine. A kernel that looks for mistakes is
# slow.
# shellcheck source=selftests/lib/slow.sh
. "$tree/selftests/lib/slow.sh"
patience=3
[[ $KERNEL == stock ]] || patience=$((patience * DEBUG_SLOW))
# Part of the names of consoles.
kind=$KERNEL
[[ $SUITE == trixie ]] || kind+=-$SUITE
[[ $ARCH == amd64 ]] || kind+=-$ARCH
scratch run
passed=0 failed=0 number=0

# count FILE: prints how many tests in a KTAP file passed and failed, and whether results that the
# file announces are missing. A result that follows results which are indented more sums them up: it
# is not counted as a test.
count() {
	awk '
	{ sub(/\r$/, ""); match($0, /^ */); level = RLENGTH }
	/^ *1\.\.[0-9]+/ { sub(/^ *1\.\./, ""); plan[level] = $1 + 0; seen[level] = 0 }
	/^ *Bail out!/ { missing = 1 }
	/^ *(not )?ok [0-9]/ {
		bad = /^ *not ok/
		skipped = /# *(SKIP|skip)/
		sum = below[level]
		if (bad && !(sum && badbelow[level]))
			fail++
		else if (!bad && !skipped && !sum)
			pass++
		for (k = 0; k <= 40; k++) {
			if (k < level) {
				below[k] = 1
				badbelow[k] += bad
			} else {
				below[k] = badbelow[k] = 0
			}
		}
		seen[level]++
		for (k in plan)
			if (k + 0 > level) {
				missing += plan[k] != seen[k]
				delete plan[k]
			}
	}
	END {
		for (k in plan)
			missing += plan[k] != seen[k]
		print pass + 0, fail + 0, missing + 0
	}' "$1"
}

# Prints the first lines of a console with which the kernel reports a mistake.
complaints() { awk -f "$tree/selftests/lib/complaints.awk" "$1" | head -n 5; }

# report FILE COMMAND…: runs COMMAND, keeps its output in FILE and shows it as the inner part of a
# KTAP report.
report() {
	local file=$1
	shift
	"$@" 2>&1 | tee "$file" | sed -u 's/^/  /'
}

# verdict NAME FILE STATUS [CONSOLE…]: counts the results in a test's FILE, and prints the result of
# the test as a whole.
verdict() {
	local name=$1 file=$2 status=$3 ok bad missing reason='' console found
	shift 3
	[[ -e $file ]] || : >"$file"
	read -r ok bad missing < <(count "$file")
	for console; do
		found=$(complaints "$console" || true)
		if [[ -n $(declared "${files[${name%-[ab]}]}" complaints) ]]; then
			[[ -n $found ]] || reason="the kernel reported no bug, see $console"
			continue
		fi
		[[ -n $found ]] || continue
		reason="the kernel reported a bug, see $console"
		printf '%s\n' "$found" | sed 's/^/  # /'
	done
	if [[ -n $reason ]]; then
		:
	elif [[ $status -eq 125 ]]; then
		reason='its guest did not come to an end as it should'
	elif [[ $((ok + bad)) -eq 0 ]]; then
		reason='it reported no result'
	elif [[ $missing -ne 0 ]]; then
		reason='results that it announced are missing'
	elif [[ $status -ne 0 && $bad -eq 0 ]]; then
		reason="it exited with status $status"
	fi
	number=$((number + 1))
	# A test that fails as a whole, without a failed result of its own, counts as one failure.
	[[ -z $reason || $bad -gt 0 ]] || bad=1
	passed=$((passed + ok))
	failed=$((failed + bad))
	if [[ $bad -eq 0 ]]; then
		echo "ok $number $name"
	else
		echo "not ok $number $name${reason:+ # $reason}"
	fi
}

# Makes everything before the tests, so that a mistake there is reported once, and all tests run the
# same module.
build() {
	local guest
	echo 'KTAP version 1'
	echo '1..2'
	call env buildenv.sh
	SUITE=trixie call host_env buildenv.sh
	call guest guest.sh
	call kernel kernel.sh
	echo 'ok 1 the kernel and the guest are there'
	call module module.sh
	cp "$module" "$run/wireguard.ko"
	echo "ok 2 the module is built for $(<"$kernel/version")"
	[[ $KERNEL == stock ]] || call debug debug-kernel.sh
	printf 'export WIREGUARD_RS_%s=%q\n' env "$env" host_env "$host_env" guest "$guest" \
		kernel "$kernel" debug "$debug" >"$run/made"
}

# guest NAME [SIDE]: runs a selftest in a guest, and leaves its status in a file.
guest() {
	local name=$1 side=${2:-} file=${files[$1]} module id=$1${2:+-$2} status=0 link=() some command
	case $side in
	a) module=rust ;;
	b) module=c ;;
	*) module=${MODULE:-$(declared "$file" module rust)} ;;
	esac
	[[ -z $side ]] || link=(--link "$run/$name-link:$side")
	command=("$(in_guest "$file")" ${side:+"$side"})
	read -ra some <<<"$(declared "$file" "$KERNEL")"
	command+=("${some[@]}")
	# The demonstration prints text for people: wrap it in KTAP.
	[[ $name != demo ]] || command=(bash -o pipefail -c "echo 1..1
		if ${command[*]} | sed 's/^/# /'; then echo 'ok 1 the demonstration'; else echo 'not ok 1 the demonstration'; fi")
	local console=$cache/log/$id-$kind-console.log again
	for again in yes no; do
		status=0
		report "$run/$id" "$scripts/boot.sh" --module "$module" --ko "$run/wireguard.ko" --console "$console" "${link[@]}" \
			--memory "$(declared "$file" memory 1024)" --timeout $((60 + patience * $(declared "$file" timeout 300))) \
			--append "$(declared "$file" append)" --clock "$(declared "$file" clock host)" \
			--cpus "$(declared "$file" processors 2)" \
			-- "${command[@]}" || status=$?
		# Very rarely the emulator does not notice that the kernel has patched its own code.
		# It then executes the breakpoint that stood there during the patching. This has
		# been seen before the module was loaded, so it is no mistake of the module.
		if [[ $again == no || -n $side || $status -ne 125 ]] || ! grep -aq 'Oops: int3' "$console"; then
			break
		fi
		echo '  # the emulator executed code that the kernel had replaced: once more'
	done
	echo "$status" >"$run/$id.status"
}

# guests NAME: runs a selftest of two guests. They run concurrently; the output of the second is
# shown when both have ended. When one has ended, the other has two minutes to end, too.
guests() {
	local a b ended end
	guest "$1" a &
	a=$!
	guest "$1" b >"$run/$1-b.shown" &
	b=$!
	wait -n -p ended "$a" "$b" || true
	end=$((SECONDS + 120))
	while kill -0 $((a + b - ended)) 2>/dev/null; do
		[[ $SECONDS -lt $end ]] || pkill -TERM -P $((a + b - ended)) -f boot.sh
		sleep 1
	done
	wait
	cat "$run/$1-b.shown"
}

# one NAME: runs a test of any kind, and leaves its status, or those of its guests, and the time
# that it took, in files.
one() {
	local status=0 start=$SECONDS
	case $1 in
	lint | test-host)
		report "$run/$1" "$scripts/$1.sh" || status=$?
		echo "$status" >"$run/$1.status" ;;
	*)
		if [[ $(declared "${files[$1]}" guests) == 2 ]]; then guests "$1"; else guest "$1"; fi ;;
	esac
	{ times; echo "$((SECONDS - start))"; } >"$run/$1.times"
}

# shown NAME: prints the output and the results of a test that has ended.
shown() {
	local file id console user system took
	{ read -r; read -r user system; read -r took; } <"$run/$1.times"
	echo "# $1: after $SECONDS s; it took $took s, processors $user + $system"
	cat "$run/$1.shown"
	for file in "$run/$1.status" "$run/$1"-[ab].status; do
		[[ -e $file ]] || continue
		id=$(basename "$file" .status)
		console=("$cache/log/$id-$kind-console.log")
		[[ ${console[0]} -nt $run/made ]] || console=()
		verdict "$id" "$run/$id" "$(<"$file")" "${console[@]}"
	done
}

# length NAME: prints the longest that a test takes, in seconds.
length() {
	case $1 in
	lint | test-host) echo 100 ;;
	*) declared "${files[$1]}" timeout 300 ;;
	esac
}

mapfile -t names < <(for name in "${names[@]}"; do
	[[ $name == build ]] || echo "$(length "$name") $name"
done | sort -k1,1rn -s | cut -d ' ' -f 2)
plan=1
for name in "${names[@]}"; do
	plan=$((plan + 1))
	[[ -z ${files[$name]:-} || $(declared "${files[$name]}" guests) != 2 ]] || plan=$((plan + 1))
done
echo 'KTAP version 1'
echo "1..$plan"
echo '# build'
status=0
run_job report "$run/build" build || status=$?
verdict build "$run/build" "$status"
if [[ $failed -gt 0 ]]; then
	echo 'Bail out! what the other tests need cannot be made'
	names=()
else
	. "$run/made"
fi
while [[ ${#names[@]} -gt 0 || ${#jobs[@]} -gt 0 ]]; do
	if [[ ${#names[@]} -gt 0 && ${#jobs[@]} -lt ${JOBS:-2} ]]; then
		start_job "${names[0]}" one "${names[0]}" >"$run/${names[0]}.shown" 2>&1
		names=("${names[@]:1}")
	else
		wait -n -p pid "${!jobs[@]}" || true
		shown "${jobs[$pid]}"
		unset "jobs[$pid]"
	fi
done
echo "$passed passed, $failed failed"
[[ $passed -gt 0 && $failed -eq 0 ]]

#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Usage: scripts/mutants.sh [NAME…]
#
# Breaks the module in one place at a time, and checks that the tests notice. Each
# selftests/mutants/NAME.patch is such a mistake, a "mutant"; without a NAME all of them are tried.
# Prints a line for each and, at the end, `N killed, N explained, N survived, N broken`: a mutant is
# broken if its patch does not apply any more, or does not compile. Exits with 0 if none survived
# and none is broken.
#
# A patch begins with a description of the mistake, and with lines that name the result:
#
#     Killed-by: FILE TEST…   these tests of the program FILE.sh in selftests/ have to fail,
#                             every one of them. Several such lines name tests of several files
#     Explained: WHY          no test can notice, for this reason: the mutant is only built
#
# A mutant is killed if it is loaded and all of its tests fail, or if its guest ends before they
# report. It survives if one of them passes. The tests are run on the unchanged module first: a test
# that fails there says nothing about a mutant.
#
# The patches are applied to a copy of this tree in the cache, where the module is built again and
# again. The output of a guest is kept in the log folder of the cache, as mutant-NAME.log.
#
# Environment: JOBS, the number of guests that run concurrently (default: 2). BASE=no leaves out the
# tests of the unchanged module. SERIES and FLAVOUR, the kernel (default: 7.3 and cloud-amd64).

# shellcheck source=scripts/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
begin "$@"
amd64_only

[[ $KERNEL == stock ]] || die "mutants are tried on the stock kernel: leave KERNEL out"
command -v patch >/dev/null ||
	die "patch is missing: install the package patch, then run this again"

patches=$tree/selftests/mutants
names=("$@")
[[ $# -gt 0 ]] || mapfile -t names < <(cd "$patches" && printf '%s\n' *.patch | sed 's/\.patch$//')

# said NAME WORD: prints the lines above the changes of a patch that begin with `WORD:`, without
# that word.
said() { sed -n "/^--- /q; s/^$2: *//p" "$patches/$1.patch"; }

# pairs NAME…: prints FILE=TEST for each test that has to fail with one of these mutants.
pairs() {
	local name file tests test
	for name; do
		while read -r file tests; do
			for test in $tests; do echo "$file=$test"; done
		done < <(said "$name" Killed-by)
	done | sort -u
}

# Checks the words of a patch, so that a mistake in them is reported before anything is built.
declare -A known=()
check_words() {
	local name=$1 file path tests test
	[[ -e $patches/$name.patch ]] || die "there is no $patches/$name.patch"
	[[ -n $(said "$name" Killed-by)$(said "$name" Explained) ]] ||
		die "$name.patch has neither a line \`Killed-by:\` nor a line \`Explained:\`"
	while read -r file tests; do
		[[ -n $file ]] || continue
		path=$(selftest "$file")
		[[ $(declared "$path" guests) == 1 ]] ||
			die "$name.patch: $file.sh is no test for a single guest"
		[[ -n ${known[$file]:-} ]] ||
			known[$file]=" $("$path" --list | cut -f 1 | xargs) "
		[[ -n $tests ]] || die "$name.patch names no test of $file"
		for test in $tests; do
			[[ ${known[$file]} == *" $test "* ]] ||
				die "$name.patch: $file.sh has no test $test"
		done
	done < <(said "$name" Killed-by)
}

# build NAME [PATCH]: builds this tree with the patch as $run/NAME.ko. The copy of the tree is
# locked only during the build. If that fails it prints why, and returns 1.
build() {
	local name=$1 patch=${2:-} why=''
	work_begin "mutants-$target" "$kernel/build"
	if [[ -n $patch ]] && ! run_job patch --directory="$work" --strip=1 --fuzz=0 --forward \
		--no-backup-if-mismatch --reject-file=- --input="$patch" >>"$log" 2>&1; then
		why='its patch does not apply any more: make it anew'
	# No test reads a mutant's debug information, and LLVM optimises without rustc's passes
	# before it, too: both take a third of the time.
	elif ! run_job in_env "$work" make -C "$kernel/build" M="$work" -j "$(nproc)" \
		KRUSTFLAGS="-Cdebuginfo=0 -Zmir-opt-level=0" modules >>"$log" 2>&1; then
		why='the module does not compile'
	else
		cp "$work/wireguard.ko" "$run/$name.ko"
	fi
	unlock "mutants-$target"
	[[ -n $why ]] || return 0
	printf 'broken     %s   (%s: see %s)\n' "$name" "$why" "$log"
	return 1
}

# boot NAME FILE=TEST…: runs tests with $run/NAME.ko, in one guest for all files that need the same
# kind of guest, and writes `FILE TEST ok|failed|missing` for each of them to $run/NAME.results.
boot() {
	local name=$1 pair file path kind clock processors append status output=$cache/log/mutant-$1.log kinds=()
	local -A tests=() memory=() commands=()
	shift
	for pair; do
		tests[${pair%%=*}]+=" ${pair#*=}"
	done
	for file in "${!tests[@]}"; do
		path=$(selftest "$file")
		kind=$(declared "$path" clock host)
		kind+=" $(declared "$path" processors 2)"
		kind+=" $(declared "$path" append)"
		[[ -n ${commands[$kind]:-} ]] || kinds+=("$kind")
		commands[$kind]+="echo '# tests of $file'; $(in_guest "$path")${tests[$file]}; "
		[[ $(declared "$path" memory 1024) -le ${memory[$kind]:-0} ]] ||
			memory[$kind]=$(declared "$path" memory 1024)
	done
	: >"$output"
	for kind in "${kinds[@]}"; do
		status=0
		read -r clock processors append <<<"$kind"
		"$scripts/boot.sh" --ko "$run/$name.ko" --clock "$clock" --cpus "$processors" \
			--append "$append" --memory "${memory[$kind]}" --timeout 1800 \
			--console "$cache/log/mutant-$name-console.log" \
			-- bash -c "${commands[$kind]}" >>"$output" 2>&1 || status=$?
		echo "# status $status" >>"$output"
	done
	# The first result of a file is that the module is loaded. The results of the tests follow,
	# in the order in which the tests were named.
	for file in "${!tests[@]}"; do
		awk -v file="$file" -v names="${tests[$file]}" '
		{ sub(/\r$/, "") }
		/^# tests of / { here = $4 == file }
		here && /^# Totals: / { ended = 1 }
		here && /^ok [0-9]+/ { result[$2] = "ok" }
		here && /^not ok [0-9]+/ { result[$3] = "failed" }
		END {
			count = split(names, name, " ")
			for (i = 1; i <= count; i++) {
				said = ended ? "unread" : "missing"
				if (result[1] != "ok")
					said = "unloaded"
				else if (result[i + 1] != "")
					said = result[i + 1]
				print file, name[i], said
			}
		}' "$output"
	done >"$run/$name.results"
}

# results NAME FILE=TEST…: prints what boot() wrote. It has to have written a line for each test: a
# result that is not there must not look like a test that failed.
results() {
	local name=$1
	shift
	cut -d ' ' -f 1,2 "$run/$name.results" | tr ' ' = | sort -u |
		cmp -s - <(printf '%s\n' "$@" | sort -u) ||
		die "$name: not every test has a result: see $cache/log/mutant-$name.log"
	cat "$run/$name.results"
}

# Prints and counts the result of a mutant whose guest has ended.
killed=0 explained=0 survived=0 broken=0
verdict() {
	local name=$1 file test result tests passed=() missing=()
	mapfile -t tests < <(pairs "$name")
	results "$name" "${tests[@]}" >"$run/now"
	while read -r file test result; do
		case $result in
		unloaded) die "$name: the guest did not load it: see $cache/log/mutant-$name.log" ;;
		unread) die "$name: no result of $file: $test in $cache/log/mutant-$name.log" ;;
		ok) passed+=("$file: $test") ;;
		missing) missing+=("$file: $test") ;;
		esac
	done <"$run/now"
	if [[ ${#passed[@]} -gt 0 ]]; then
		survived=$((survived + 1))
		printf 'survived   %s   (passed: %s)\n' "$name" "$(IFS=,; echo "${passed[*]}")"
	else
		killed=$((killed + 1))
		printf 'killed     %s%s\n' "$name" \
			"${missing[*]:+   (the guest ended before ${missing[*]})}"
	fi
}

# wait_below COUNT: waits until fewer than COUNT guests run.
wait_below() {
	local pid
	while [[ ${#jobs[@]} -ge $1 ]]; do
		wait -n -p pid "${!jobs[@]}" || true
		verdict "${jobs[$pid]}"
		unset "jobs[$pid]"
	done
}

for name in "${names[@]}"; do
	check_words "$name"
done
mapfile -t all < <(pairs "${names[@]}")

call env buildenv.sh
call guest guest.sh
call kernel kernel.sh
use_part "$env"
use_part "$kernel"
start_log "mutants-$target"
scratch run

if [[ ${BASE:-yes} != no && ${#all[@]} -gt 0 ]]; then
	say "  ${#all[@]} tests on the module as it is …"
	build none || exit
	run_job boot none "${all[@]}"
	results none "${all[@]}" >"$run/now"
	while read -r file test result; do
		[[ $result == ok ]] ||
			die "$file: $test fails without a mutant: see $cache/log/mutant-none.log"
	done <"$run/now"
fi
for name in "${names[@]}"; do
	if ! build "$name" "$patches/$name.patch"; then
		broken=$((broken + 1))
		continue
	fi
	mapfile -t tests < <(pairs "$name")
	if [[ ${#tests[@]} -eq 0 ]]; then
		explained=$((explained + 1))
		printf 'explained  %s   (%s)\n' "$name" "$(said "$name" Explained | tr '\n' ' ')"
		continue
	fi
	wait_below "${JOBS:-2}"
	start_job "$name" boot "$name" "${tests[@]}"
done
wait_below 1
echo "$killed killed, $explained explained, $survived survived, $broken broken"
[[ $((survived + broken)) -eq 0 ]]

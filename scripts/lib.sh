# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Functions that the scripts of the lab share. This file is sourced, never run.
#
# Everything the lab makes is a "part": a directory $cache/NAME/LABEL-HASH. HASH is taken from all
# the inputs of the part. The file `.complete` is written last: a directory without it is thrown
# away and made again. When a part is complete, parts of the same name with another hash are
# removed, unless another run is still using them (a run holds a shared lock on the parts it uses).
#
# Commands that take long, or that need a root file system of their own, run in mount and PID
# namespaces that end with the command. So there is never a mount to undo and never a process left,
# however the script is stopped.

set -euo pipefail

scripts=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
tree=$(dirname "$scripts")
self=$(basename "$0")
cache=${WIREGUARD_RS_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/wireguard-rs}
SUITE=${SUITE:-trixie}
# The series of the kernel for each suite of Debian, the mark of the suite in the releases of its
# kernels, and the archive that has it.
declare -A newest=([trixie]=7.3 [forky]=7.2) marks=([trixie]=deb13 [forky]=deb14)
# shellcheck disable=SC2034 # some scripts use it
archive=${SUITE/#trixie/trixie-backports}
# A script whose kernel is the running one by default sets running_kernel before it reads this. The
# release of Debian's kernels, such as 7.3.4+deb13-amd64 or 7.3.4+deb13+1-amd64, names the series
# and the flavour. Of a series that is too old, only the flavour is taken.
if [[ -n ${running_kernel:-} && -z ${SERIES:-}${FLAVOUR:-} &&
	$(uname -r) =~ ^(([0-9]+)\.[0-9]+)\.[0-9]+\+${marks[$SUITE]:-}(\+[0-9]+)?-([a-z0-9-]+)$ ]]; then
	FLAVOUR=${BASH_REMATCH[4]}
	[[ ${BASH_REMATCH[2]} -lt 7 ]] || SERIES=${BASH_REMATCH[1]}
fi
SERIES=${SERIES:-${newest[$SUITE]:-}}
KERNEL=${KERNEL:-stock}
SYSTEM=${SYSTEM:-small}
# Debian's names of the architectures: of this machine, and of the kernel, which a FLAVOUR such as
# rt-arm64 names.
own_arch=$(dpkg --print-architecture 2>/dev/null || uname -m)
ARCH=${ARCH:-$(grep -oE '(amd|arm)64' <<<"${FLAVOUR:-}" || echo "$own_arch")}
FLAVOUR=${FLAVOUR:-cloud-$ARCH}
# Not empty if programs of that architecture do not run on this machine.
cross=
[[ $ARCH == "$own_arch" ]] || cross=$ARCH
# Scripts below this one take ARCH from FLAVOUR. The kernel's make, which has other names for
# architectures, must not see it.
export SUITE SERIES FLAVOUR KERNEL SYSTEM
export -n ARCH
# Part of the names of parts that depend on the kernel.
target=$SERIES
[[ $SUITE == trixie ]] || target+=-$SUITE
[[ $FLAVOUR == cloud-amd64 ]] || target+=-$FLAVOUR
export WIREGUARD_RS_CACHE=$cache

# Prints the script's --help: the comment block at its top, from the third line on.
usage() {
	sed -n '3,/^$/s/^# \{0,1\}//p' "$scripts/$self"
}

# Messages to people go to standard error. Below scripts/test.sh, SAY makes each of them a comment
# of the KTAP report.
say() { printf '%s%s\n' "${SAY:-}" "$*" >&2; }

# Ends the script with one sentence: the mistake, and how to mend it.
die() {
	say "$self: $*"
	exit 1
}

# Variables that call, scratch, part_begin and work_begin set.
# shellcheck disable=SC2034 # each script uses some
env='' host_env='' kernel='' debug='' module='' firmware='' run='' part='' work=''

# ---- stopping ----------------------------------------------------------------------------------

declare -A jobs=() # PIDs (and process groups) of the running commands, and a name for each
ticker=         # PID of the clock that step shows
making=         # part being made: removed unless it is completed
on_exit=()      # commands to run at the end, last one first

stop_job() {
	local pid=$1 i
	kill -TERM -- "-$pid" 2>/dev/null || return 0
	# A script of the lab gets about 5 s to clean up after itself; then its group is killed.
	for ((i = 0; i < 50; i++)); do
		kill -0 -- "-$pid" 2>/dev/null || return 0
		# Processes in a PID namespace do not see SIGTERM. Killing their `unshare` ends
		# all of them.
		pkill -KILL -g "$pid" -x unshare 2>/dev/null || true
		sleep 0.1
	done
	kill -KILL -- "-$pid" 2>/dev/null || true
}

at_exit() {
	local status=$? i pid
	trap '' INT TERM HUP
	if [[ -n $ticker ]]; then
		kill -KILL "$ticker" 2>/dev/null || true
		say
	fi
	for pid in "${!jobs[@]}"; do
		stop_job "$pid"
	done
	for ((i = ${#on_exit[@]} - 1; i >= 0; i--)); do
		${on_exit[i]} || true
	done
	[[ -n $making ]] && remove_tree "$making"
	exit "$status"
}
trap at_exit EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# Removes a directory of the cache; refuses any other.
remove_tree() {
	[[ $1 == "$cache"/?* ]] || die "refusing to remove $1, which is not in $cache"
	rm -rf --one-file-system -- "$1"
}

# ---- running -----------------------------------------------------------------------------------

log=            # log file of the steps of this script

# start_log [NAME]: begins the log file of this script.
# shellcheck disable=SC2120 # NAME may be left out
start_log() {
	mkdir -p "$cache/log"
	log=$cache/log/${1:-${self%.sh}}.log
	: >"$log"
}

# start_job NAME COMMAND…: starts a command in the background of this script, as NAME in `jobs`.
# $! is its PID.
start_job() {
	# The job gets a process group of its own, so that it can be stopped as a whole. In a
	# subshell it stays in the subshell's group.
	[[ $BASHPID != "$$" ]] || set -m
	"${@:2}" </dev/null &
	set +m
	jobs[$!]=$1
}

# Runs a command in the background of this script and waits for it: bash handles a signal
# immediately during `wait`, but only after a command in the foreground. Output is not redirected.
# Returns the command's status.
run_job() {
	local status=0 pid
	start_job "$1" "$@"
	pid=$!
	wait "$pid" || status=$?
	unset "jobs[$pid]"
	return "$status"
}

# step TEXT COMMAND…: runs COMMAND with its output in the log, and shows TEXT and the time it takes.
# If COMMAND fails, shows the end of the log and ends the script.
step() {
	local text=$1 status=0 start=$SECONDS mark
	shift
	[[ -n $log ]] || start_log
	printf '\n==> %s: %s\n' "$text" "$*" >>"$log"
	mark=$(stat -c %s "$log")
	if [[ -t 2 ]]; then
		(
			set +e
			trap - EXIT
			while kill -0 $$ 2>/dev/null; do
				printf '\r\033[K  %s … %d s' "$text" $((SECONDS - start)) >&2
				sleep 1
			done
		) </dev/null >/dev/null &
		ticker=$!
	else
		say "  $text …"
	fi
	run_job "$@" >>"$log" 2>&1 || status=$?
	if [[ -n $ticker ]]; then
		kill -KILL "$ticker" 2>/dev/null || true
		wait "$ticker" 2>/dev/null || true
		ticker=
		printf '\r\033[K' >&2
	fi
	if [[ $status -ne 0 ]]; then
		say "  $text: failed after $((SECONDS - start)) s. The last lines of $log:"
		tail -c +$((mark + 1)) "$log" | tail -n 40 | sed "s/^/${SAY:-}  | /" >&2
		if tail -c +$((mark + 1)) "$log" | grep -q 'No space left on device'; then
			die "the file system of $cache is full: free some space," \
				"or set XDG_CACHE_HOME to a larger one, then run this again"
		elif tail -c +$((mark + 1)) "$log" | grep -qE 'Temporary failure resolving|Could not (resolve|connect)|Failed to fetch|Unable to connect'; then
			die "the Debian archive $(mirror) cannot be reached: check the network," \
				"or name another mirror in MIRROR, then run this again"
		fi
		exit 1
	fi
	say "  $text: $((SECONDS - start)) s"
}

# call VARIABLE SCRIPT [ARGUMENT…]: runs another script of the lab and puts its output into
# VARIABLE. A script below this one that calls for the same VARIABLE gets the same value, without
# another run.
call() {
	local -n into=$1
	local known=WIREGUARD_RS_$1 out status=0
	shift
	if [[ -z ${!known:-} ]]; then
		out=$(mktemp)
		on_exit+=("rm -f $out")
		run_job "$scripts/$1" "${@:2}" >"$out" || status=$?
		export "$known=$(<"$out")"
		[[ $status -eq 0 ]] || exit "$status"
	fi
	# shellcheck disable=SC2034 # `into` is the caller's variable
	into=${!known}
}

# unpack PACKAGE…: unpacks packages of the environment's Debian into the part that is being made,
# without what they depend on.
unpack() {
	local deb
	in_env "$part" apt-get download "$@" || return
	for deb in "$part"/*.deb; do
		in_env "$part" dpkg-deb -x "$deb" "$part" || return
	done
	rm -f "$part"/*.deb
}

# Sets `env` to the build environment that guests are made and run in, which is Debian 13's for the
# kernels of all suites.
call_host_env() {
	SUITE=trixie call host_env buildenv.sh
	env=$host_env
	use_part "$env"
}

# ---- the machine -------------------------------------------------------------------------------

need_root() {
	[[ $(id -u) -eq 0 ]] ||
		die "the lab needs root (for a Debian chroot and namespaces): run it again as root"
}

need_debian() {
	local id='' version=''
	if [[ -r /etc/os-release ]]; then
		id=$(. /etc/os-release && printf '%s' "${ID:-}")
		version=$(. /etc/os-release && printf '%s' "${VERSION_ID:-}")
	fi
	[[ $id == debian && ($version == 12 || $version == 13) && $own_arch =~ ^(amd|arm)64$ ]] ||
		die "the lab runs on Debian 12 or 13 on amd64 or arm64, and this is" \
			"${id:-an unknown system} ${version:-} on $own_arch:" \
			"use such a machine or virtual machine"
}

# need_space GIGABYTES: ends the script if the cache's file system has less room.
need_space() {
	local free
	mkdir -p "$cache"
	free=$(df --output=avail -B1G "$cache" | tail -n 1)
	[[ $free -ge $1 ]] ||
		die "$cache has ${free// /} GB free and this needs $1 GB: free some space," \
			"or set XDG_CACHE_HOME to a larger file system"
}

# Ends a script whose work needs what only Debian 13's build environment for amd64 has.
amd64_only() {
	[[ $ARCH == amd64 ]] ||
		die "this exists for amd64 only: run it without ARCH=$ARCH and FLAVOUR=$FLAVOUR"
	[[ $SUITE == trixie ]] || die "this exists for trixie only: run it without SUITE=$SUITE"
}

# Called first by every script: answers --help, then checks the machine, SUITE, SERIES, ARCH,
# FLAVOUR, KERNEL, SYSTEM and the cache.
begin() {
	local argument
	for argument; do
		case $argument in
		-h | --help) usage; trap - EXIT; exit 0 ;;
		--) break ;;
		esac
	done
	need_debian
	need_root
	[[ -n ${newest[$SUITE]:-} ]] || die "SUITE=$SUITE is none of ${!newest[*]}"
	[[ $SERIES =~ ^[0-9]+\.[0-9]+$ ]] || die "SERIES=$SERIES is not a kernel series such as 7.3"
	[[ $ARCH =~ ^(amd|arm)64$ ]] || die "ARCH=$ARCH is neither amd64 nor arm64"
	[[ -z $cross || $own_arch == amd64 ]] ||
		die "only an amd64 machine builds for another architecture," \
			"and this one is $own_arch: run this without ARCH=$ARCH"
	[[ $FLAVOUR == *$ARCH* ]] ||
		die "FLAVOUR=$FLAVOUR is not a kernel for $ARCH: run this without one of the two"
	[[ $KERNEL =~ ^(stock|kasan|kcsan)$ ]] ||
		die "KERNEL=$KERNEL is none of stock, kasan and kcsan"
	[[ $SYSTEM =~ ^(small|services)$ ]] || die "SYSTEM=$SYSTEM is neither small nor services"
	[[ $KERNEL != kcsan ]] || amd64_only
	[[ $KERNEL == stock || $SUITE == trixie ]] ||
		die "SUITE=$SUITE has no kernel with ${KERNEL^^} here: run this without one of the two"
	[[ $SUITE == trixie || -z $cross ]] ||
		die "SUITE=$SUITE has no cross-compilers here: run this without ARCH=$ARCH"
	mkdir -p "$cache" 2>/dev/null ||
		die "cannot write to $cache: set XDG_CACHE_HOME to a writable directory"
}

# ---- parts -------------------------------------------------------------------------------------

# lock NAME: takes the exclusive lock NAME, waiting for another run that has it. The lock is held
# until `unlock NAME` or the end.
declare -A locks=()
lock() {
	local fd
	mkdir -p "$cache/lock"
	exec {fd}>"$cache/lock/$1"
	if ! flock -n "$fd"; then
		say "  waiting for another run that is busy with $1 …"
		run_job flock "$fd"
	fi
	locks[$1]=$fd
}

unlock() {
	local fd=${locks[$1]}
	exec {fd}>&-
	unset "locks[$1]"
}

# try_part DIR: keeps other runs from removing the part DIR until this script ends. Fails if it is
# not there, or not complete.
try_part() {
	local fd
	[[ -e $1/.complete ]] || return 1
	exec {fd}<"$1" || return 1
	flock -s "$fd"
	[[ -e $1/.complete ]] || return 1
}

use_part() {
	try_part "$1" || die "$1 has been removed by another run: run this again"
}

# part_begin NAME LABEL KEY: sets $part to the directory of the part made from KEY. Returns 1 if the
# part is there already. Otherwise the directory is empty: the caller fills it, then calls part_end.
part_begin() {
	local name=$1 label=$2 hash
	hash=$(sha256sum <<<"$3" | cut -c 1-12)
	part=$cache/$name/$label-$hash
	! try_part "$part" || return 1
	lock "$name"
	if try_part "$part"; then
		unlock "$name"
		return 1
	fi
	making=$part
	remove_tree "$part"
	mkdir -p "$part"
	part_key=$3
}

part_end() {
	local name old fd
	name=$(basename "$(dirname "$part")")
	printf '%s\n' "$part_key" >"$part/.complete.new"
	sync -f "$part"
	mv "$part/.complete.new" "$part/.complete"
	making=
	use_part "$part"
	for old in "$cache/$name"/*/; do
		old=${old%/}
		[[ $old != "$part" && ! -L $old ]] || continue
		exec {fd}<"$old"
		if flock -n "$fd"; then
			rm -f "$old/.complete"
			remove_tree "$old"
		fi
		exec {fd}<&-
	done
	unlock "$name"
}

# scratch VARIABLE: makes a directory for this run alone and puts its path into VARIABLE. The
# directory is removed when the run ends.
scratch() {
	local -n at=$1
	local old fd
	mkdir -p "$cache/run"
	lock run
	# Remove the directories of runs that were killed.
	for old in "$cache"/run/*/; do
		[[ -d $old ]] || continue
		exec {fd}<"$old" || continue
		! flock -n "$fd" || remove_tree "$old"
		exec {fd}<&-
	done
	at=$(mktemp -d "$cache/run/XXXXXX")
	exec {fd}<"$at"
	flock -s "$fd"
	unlock run
	on_exit+=("remove_tree $at")
}

# ---- namespaces --------------------------------------------------------------------------------

# Runs a command in mount and PID namespaces of its own. They, and every process and mount in them,
# end when the command ends, when `unshare` is killed, or when this script dies in any way.
in_namespaces() {
	setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child -- "$@"
}

# in_env DIR COMMAND…: runs COMMAND in DIR in the build environment $env. The cache and this source
# tree have the same paths there as outside, so that paths in messages and in the prepared kernel
# tree hold on both sides.
in_env() {
	local dir=$1
	shift
	# shellcheck disable=SC2016 # expanded by the inner shell
	in_namespaces bash -euc '
		env=$1 dir=$2
		shift 2
		mount -t proc proc "$env/proc"
		# A /tmp of its own: make names its job server by PID, and PIDs repeat from one
		# namespace to the next.
		mount -t tmpfs tmpfs "$env/tmp"
		while [[ $1 != -- ]]; do
			mkdir -p "$env$1"
			mount --bind "$1" "$env$1"
			shift
		done
		shift
		for file in resolv.conf hosts; do
			# Replaced by one rename, and only if it has changed: other commands may
			# be reading it.
			if [[ -e /etc/$file ]] && ! cmp -s "/etc/$file" "$env/etc/$file"; then
				new=$(mktemp "$env/etc/.$file.XXXXXX")
				cat "/etc/$file" >"$new"
				chmod 644 "$new"
				mv -f "$new" "$env/etc/$file"
			fi
		done
		cd "$env"
		exec chroot . /usr/bin/env -i -C "$dir" "$@"
	' in_env "$env" "$dir" "$cache" "$tree" -- \
		PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
		HOME=/root LC_ALL=C.UTF-8 TERM="${TERM:-dumb}" DEBIAN_FRONTEND=noninteractive \
		${http_proxy:+http_proxy="$http_proxy"} \
		${https_proxy:+https_proxy="$https_proxy"} \
		${no_proxy:+no_proxy="$no_proxy"} \
		"$@"
}

# work_begin NAME KEY: sets $work to the directory in which builds NAME of this tree are repeated,
# $cache/NAME/HASH, and updates the copy of the module's sources in it. Files that were built there
# stay, unless they were made from another KEY. HASH is taken from the path of the tree, so two
# trees never build in one directory. Locked until `unlock NAME` or the end.
work_begin() {
	local old
	work=$cache/$1/$(sha256sum <<<"$tree" | cut -c 1-12)
	lock "$1"
	for old in "$cache/$1"/*/; do
		[[ ! -d $old || -d $(head -n 1 "$old/.made-for" 2>/dev/null) ]] ||
			remove_tree "$old"
	done
	if [[ $(cat "$work/.made-for" 2>/dev/null) != "$tree"$'\n'"$2" ]]; then
		remove_tree "$work"
		mkdir -p "$work"
		printf '%s\n' "$tree" "$2" >"$work/.made-for"
	fi
	# Compared by checksum, without times: a file that has not changed must not look changed to
	# make.
	in_env "$tree" rsync -rl --checksum --delete --exclude-from=.gitignore --include=/Kbuild \
		--include='/src/***' --include='/tests-host/***' --exclude='*' ./ "$work/" >&2
}

# ---- cargo -------------------------------------------------------------------------------------

# host_begin: sets $work to a directory for builds of tests-host/, as work_begin does, and prepares
# cargo's home for in_cargo.
host_begin() {
	local file fd certificates=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
	local config=${CARGO_HOME:-${HOME:-/root}/.cargo}
	[[ -z $cross ]] ||
		die "this tests on the machine itself, which is $own_arch: run it without ARCH=$ARCH"
	call env buildenv.sh
	use_part "$env"
	work_begin host "$env"
	mkdir -p "$cache/cargo"
	exec {fd}<"$cache/cargo"
	flock -s "$fd"
	# Cargo reaches the registry with the certificates and the configuration of this machine.
	[[ -e $certificates ]] || certificates=$env/etc/ssl/certs/ca-certificates.crt
	install -m 644 "$certificates" "$cache/cargo/certificates"
	for file in config config.toml; do
		rm -f "$cache/cargo/$file"
		[[ ! -e $config/$file ]] || cp "$config/$file" "$cache/cargo/"
	done
}

# in_cargo COMMAND…: runs a command in the build environment, in tests-host/ of the copy that
# host_begin has made.
in_cargo() {
	in_env "$work/tests-host" env CARGO_HOME="$cache/cargo" CARGO_TARGET_DIR="$work/target" \
		CARGO_HTTP_CAINFO="$cache/cargo/certificates" CARGO_TERM_COLOR=never "$@"
}

# selftest NAME: prints the path of the program NAME.sh, which is in selftests/ or in one of its
# folders.
selftest() {
	local found
	found=$(find "$tree/selftests" -maxdepth 2 -name "$1.sh" -perm -u+x)
	[[ -n $found ]] || die "selftests/ has no program $1.sh"
	printf '%s\n' "$found"
}

# in_guest FILE: prints the path that a program in selftests/ has in a guest.
in_guest() { printf '/%s\n' "${1#"$tree/"}"; }

# declared FILE NAME [DEFAULT]: prints the VALUE that a program in selftests/ declares in a comment
# `# NAME: VALUE` at its top, or DEFAULT.
declared() {
	local value
	value=$(sed -n "/^[^#]/q; s/^# $2: *//p" "$1")
	printf '%s' "${value:-${3:-}}"
}

# ---- Debian ------------------------------------------------------------------------------------

# Prints the Debian mirror this machine uses, as its own apt understands its configuration. MIRROR
# overrides it.
mirror() {
	local uri
	if [[ -n ${MIRROR:-} ]]; then
		printf '%s\n' "${MIRROR%/}"
		return
	fi
	# shellcheck disable=SC2016 # for apt to expand
	uri=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' \
		'Identifier: Packages' 2>/dev/null |
		awk '$2 ~ /^(bookworm|trixie|stable|oldstable)$/ && $3 == "main" { print $1; exit }')
	# The URI names a file with a list of mirrors: take the first.
	if [[ $uri == mirror+file:* ]]; then
		uri=${uri#mirror+file:}
		uri=$(awk '/^[a-z]/ { print $1; exit }' "/${uri##*(/)}" 2>/dev/null || true)
	fi
	uri=${uri%/}
	printf '%s\n' "${uri:-http://deb.debian.org/debian}"
}

# Prints the mmdebstrap options that hand on the proxy settings of the machine's own apt.
apt_proxy_options() {
	apt-config dump 2>/dev/null |
		sed -n 's/^\(Acquire::https\?::Proxy[^ ]*\) "\([^"]\+\)";$/--aptopt=\1 "\2"/p'
}

# make_system DIRECTORY SUITES [OPTION…]: makes a Debian system with the packages in the array
# `packages`, from the `main` of these suites of `mirror`. It has no manual pages, and the scratch
# folder is $run. The OPTIONs are mmdebstrap's.
# shellcheck disable=SC2154 # `mirror` and `packages` are the caller's
make_system() {
	local directory=$1 suites=$2 suite options sources=()
	for suite in $suites; do
		sources+=("deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main")
	done
	shift 2
	mapfile -t options < <(apt_proxy_options)
	# The index of a testing suite is valid for a week only, and a mirror may be older than
	# that; its signature is checked all the same.
	[[ " $suites " != *' forky '* ]] ||
		options+=(--aptopt='Acquire::Check-Valid-Until "false"')
	in_namespaces env TMPDIR="$run" mmdebstrap --variant=minbase \
		--include="$(IFS=,; echo "${packages[*]}")" \
		--aptopt='APT::Install-Recommends "false"' \
		--aptopt='APT::Sandbox::User "root"' "${options[@]}" \
		--dpkgopt='path-exclude=/usr/share/man/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt=force-unsafe-io \
		"$@" "${suites%% *}" "$directory" "${sources[@]}"
}

#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Usage: scripts/lint.sh
#
# Checks this source tree with the tools of the build environment, and prints the results in KTAP:
# rustfmt and clippy with the kernel's settings, the C compiler's warnings, checkpatch and sparse on
# the C files, rustdoc, that nothing in the module can panic, where `unsafe` is, that the files of
# src/ keep to their layers, how the module ends, licence lines, what shellcheck says of the
# scripts, the spelling, the width and the words of comments, that the tests share lib/ alone and
# that kselftest installs them, that the documents name the tests and files that are there, and the
# version.
#
# Environment: SERIES and FLAVOUR, the kernel (default: 7.3 and cloud-amd64).

# shellcheck source=scripts/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
begin "$@"
amd64_only

call kernel kernel.sh
call env buildenv.sh
use_part "$env"
use_part "$kernel"

# Not in the build environment, because every part that is made with it is made anew when it changes:
# the debug kernels, too.
start_log "lint-$target"
if part_begin checkers trixie "$(mirror) $(declare -f unpack)"; then
	step "unpacking codespell and sparse" unpack codespell sparse
	part_end
fi
checkers=$part
work_begin "lint-$target" "$kernel"
mapfile -t rust < <(cd "$work" && find src -name '*.rs' ! -name '*_generated.rs' | sort)
mapfile -t host < <(cd "$work" && find tests-host -name '*.rs' | sort)
[[ ${#rust[@]} -gt 0 && ${#host[@]} -gt 0 ]] || die "there is no Rust in src/ or in tests-host/"

number=0 failed=0
# check TEXT COMMAND…: runs COMMAND, and reports whether it succeeded. If it did not, shows what it
# printed.
check() {
	local text=$1 status=0
	shift
	run_job "$@" >"$work/.output" 2>&1 || status=$?
	cat "$work/.output" >>"$log"
	number=$((number + 1))
	if [[ $status -eq 0 ]]; then
		echo "ok $number $text"
	else
		failed=$((failed + 1))
		head -n 200 "$work/.output" | sed 's/^/# /'
		echo "not ok $number $text"
	fi
}

formatted() {
	in_env "$work" rustfmt --color never --check --config-path "$tree/.rustfmt.toml" "${rust[@]}" \
		"${host[@]}"
}

# Both compilers print the warnings of a file only when they compile it, so everything is compiled.
quiet_build() {
	find "$work/src" -name '*.o' -delete
	in_env "$work" make -C "$kernel/build" M="$work" -j "$(nproc)" CLIPPY=1 modules || return
	! grep -E '^(warning|error)|: warning:' "$work/.output" >/dev/null
}

# The kernel's own script for the style of C. The format %pA, which it wants in Rust code alone, is
# for messages that come from Rust. Tracepoints are written as everywhere in the kernel, with other
# brackets than functions have.
checkpatched() {
	local files check=(perl "$kernel/source/scripts/checkpatch.pl" --no-tree
		--root="$kernel/source" --quiet --show-types --strict --max-line-length=100)
	mapfile -t files < <(cd "$work" && find src -name '*.[ch]' ! -name bindings_static.c \
		! -path src/linux/engine/trace.h | sort)
	in_env "$work" "${check[@]}" --ignore VSPRINTF_POINTER_EXTENSION --file "${files[@]}" &&
		in_env "$work" "${check[@]}" --ignore PARENTHESIS_ALIGNMENT,OPEN_ENDED_LINE \
			--file src/linux/engine/trace.h
}

# sparse, with the flags that the build has written down for each file. `make C=2` refuses a sparse
# that does not know __typeof_unqual__. Of version.c it says only that it cannot evaluate the macros
# of MODULE_INFO().
sparse_is_silent() {
	# shellcheck disable=SC2016 # expanded by the inner shell
	in_env "$work" env sparse="$checkers/usr/bin/sparse" bash -c '
		for file in $(find src -name "*.c" ! -name bindings_static.c ! -path src/version.c | sort); do
			command=${file%/*}/.${file##*/}
			flags=$(sed -n "1{s/^[^=]*:= *[^ ]* //; s/-Wp,[^ ]*//; s/ -c -o .*//; p}" "${command%.c}.o.cmd") || exit
			eval "$sparse --arch=x86 -m64 -mlittle-endian -D__linux__ -D__x86_64__ -D__STDC__ \
				-D__typeof_unqual__=__typeof__ -Wbitwise -Wno-return-void \
				-Wno-unknown-attribute $flags $file" || exit
			echo "looked at $file"
		done' || return
	! grep -v '^looked at ' "$work/.output" >/dev/null && grep -q '^looked at ' "$work/.output"
}

# rustdoc, with the flags that the build has written down for the crate. Nobody reads its pages: the
# links in comments have to lead somewhere.
documents_itself() {
	# shellcheck disable=SC2016 # expanded by the inner shell
	in_env "$work" env RUSTC_BOOTSTRAP=1 WIREGUARD_BINDINGS=bindings_generated.rs bash -c '
		call=$(sed -n "1s/^[^=]*:= //p" src/.wireguard_main.o.cmd) || exit
		call=$(sed -E "s/;.*//; s/ (clippy-driver|rustc) / rustdoc /; s/ --emit=[^ ]*//g
			s/ --out-dir [^ ]*//; s/ -Zbinary_dep_depinfo=y//; s/ -[AW]clippy::[^ ]*//g" <<<"$call")
		eval "$call --document-private-items -Drustdoc::broken_intra_doc_links -o .doc"' || return
	! grep -E '^(warning|error)' "$work/.output" >/dev/null
}

# `unsafe` belongs in src/linux/, and what is outside must say that the compiler is to see to it.
confined() {
	local found
	found=$(cd "$work" && grep -nE '(^|[^_[:alnum:]])unsafe($|[^_[:alnum:]])' "${rust[@]}" |
		grep -vE '^src/linux/|:[0-9]+: *//|forbid\(unsafe_code\)|deny\(unsafe_op_in_unsafe_fn\)')
	[[ -z $found ]] || { echo "$found"; return 1; }
	found=$(awk '
		/^ *(pub(\([a-z]+\))? )?mod [a-z0-9_]+;/ && $0 !~ / linux;/ && !forbidden { print FILENAME ": " $0 " without #[forbid(unsafe_code)]"; bad = 1 }
		{ forbidden = /forbid\(unsafe_code\)/ }' "$work/src/wireguard_main.rs")
	[[ -z $found ]] || { echo "$found"; return 1; }
}

# scripts/layers.py has the layers in a table.
layered() {
	in_env "$tree" scripts/layers.py
}

# With the kernel crate's own traits nothing waits for timers and RCU callbacks when the module goes.
# linux::module does.
ended() {
	local found
	found=$(cd "$work" && grep -nwE 'InPlaceModule|kernel::Module' "${rust[@]}" |
		grep -vE '^src/linux/module\.rs:|:[0-9]+: *//')
	[[ -z $found ]] || { echo "$found"; return 1; }
	grep -qE '^    type: linux::module::Ending<' "$work/src/wireguard_main.rs"
}

# The scripts for guests split words on purpose, so only errors count there.
scripts_are_sound() {
	in_env "$tree" bash -c 'shellcheck -x -S style scripts/*.sh .ci/run packaging/*/{build,installed,load-own,*.postrm,post*.in} && shellcheck -s bash -x -S error selftests/*.sh selftests/*/*.sh'
}

licensed() {
	local found
	found=$(cd "$tree" && find src scripts selftests tests-host tools netlink packaging Kbuild Makefile -type f \
		\( -name '*.rs' -o -name '*.[ch]' -o -name '*.sh' -o -name '*.py' -o -name Kbuild -o -name Makefile -o -name Cargo.toml -o -path 'tools/*' -o -name '*.yaml' \) \
		! -name '*_generated.rs' ! -name bindings_static.c |
		while read -r file; do head -n 2 "$file" | grep -q 'SPDX-License-Identifier: GPL-2.0' || echo "$file has no licence line"; done)
	[[ -z $found ]] || { echo "$found"; return 1; }
}

# An index out of bounds, or an overflow, is a BUG in the kernel. Where the compiler cannot rule one
# out, the object refers to core::panicking.
never_panics() {
	local found
	found=$(in_env "$work" x86_64-linux-gnu-objdump -dr --no-show-raw-insn wireguard.ko) || { echo "$found"; return 1; }
	found=$(awk '/^[0-9a-f]+ <.*>:$/ { name = $2 } /4core9panicking/ { print name, $NF }' <<<"$found" | sort | uniq -c)
	echo "references to core::panicking: $(awk '{ n += $1 } END { print n + 0 }' <<<"$found")"
	[[ -z $found ]] || { echo "$found"; return 1; }
}

# Comments have at most 100 columns, of which a tab is eight, and none says "at once", which means
# inline, concurrently or together.
worded() {
	local found wide='.{101}|\t.{93}|\t\t.{85}|\t{3}.{77}|\t{4}.{69}'
	found=$(cd "$tree" && find src scripts selftests tests-host tools netlink packaging docs Kbuild Makefile ./*.md -type f \
		! -path '*/mutants/*' ! -name '*_generated.rs' ! -name bindings_static.c ! -name CONTRIBUTING.md \
		! -path scripts/lint.sh ! -path '*/target/*' -print0 |
		LC_ALL=C.UTF-8 xargs -0 grep -InPi "\bat once\b|^(?=\s*(#|//|\* ))($wide)" |
		grep -v '^[^:]*\.md:[0-9]*:#' | cut -c 1-160)
	[[ -z $found ]] || { echo "$found"; return 1; }
}

# The words of scripts/codespell.ignored are names, and no mistakes.
spelt() {
	in_env "$tree" env PYTHONPATH="$checkers/usr/lib/python3/dist-packages" \
		python3 "$checkers/usr/bin/codespell" --ignore-words scripts/codespell.ignored \
		--skip './.git,./tests-host/fuzz/corpus,./tests-host/target,*/Cargo.lock,__pycache__' .
}

# scripts/imports.py says what a program may import.
share_a_library() {
	in_env "$tree" scripts/imports.py
}

# A copy of selftests/ in the kernel's tree of tests, installed by its Makefile, has the programs
# and what they share.
kselftest_installs() {
	local tests=tools/testing/selftests program
	rm -rf "$work/.kselftest"
	mkdir -p "$work/.kselftest"
	(cd "$kernel/source" && cp -a --parents scripts/subarch.include "$tests"/{Makefile,lib.mk,run_kselftest.sh,kselftest} \
		"$work/.kselftest/")
	cp -a "$tree/selftests" "$work/.kselftest/$tests/wireguard-rust"
	in_env "$work" make -s -C ".kselftest/$tests" TARGETS=wireguard-rust INSTALL_DEP_TARGETS= \
		KSFT_INSTALL_PATH="$work/.kselftest/installed" install || return
	cd "$work/.kselftest/installed/wireguard-rust" || return
	[[ $(wc -l <../kselftest-list.txt) -gt 5 ]] || { echo 'few programs are listed'; return 1; }
	while IFS=: read -r _ program; do
		[[ -n $("./$program" --list) ]] || { echo "$program is not whole"; return 1; }
	done <../kselftest-list.txt
}

# The documents name the tests that there are, their links lead somewhere, their picture is not
# stale, and the specification of the netlink family has the numbers of the code.
documented() {
	in_env "$tree" sh -c 'scripts/shown-by.py --check && scripts/links.py && scripts/spec.py &&
		scripts/architecture-picture.py --check'
}

# The module that quiet_build has made says the version that CHANGELOG.md begins with.
versioned() {
	local said written
	said=$(in_env "$work" modinfo -F implementation_version ./wireguard.ko) || return
	written=$(sed -n 's/^## \([0-9.]*\).*/\1/p' "$tree/CHANGELOG.md" | head -n 1)
	[[ -n $said && $said == "$written" ]] ||
		{ echo "modinfo says version '$said', CHANGELOG.md begins with '$written'"; return 1; }
}

echo 'KTAP version 1'
echo '1..17'
check 'rustfmt has nothing to change' formatted
check 'clippy and the C compiler have nothing to say' quiet_build
check 'checkpatch has nothing to say of the C files' checkpatched
check 'sparse has nothing to say of the C files' sparse_is_silent
check 'rustdoc has nothing to say, and every link leads somewhere' documents_itself
check 'nothing in the module can panic' never_panics
check 'unsafe is in src/linux/ alone' confined
check 'the files of src/ keep to their layers' layered
check 'the module ends with the wait for its callbacks' ended
check 'every file names its licence' licensed
check 'shellcheck has nothing to say' scripts_are_sound
check 'codespell has nothing to say' spelt
check 'programs in selftests/ share lib/ alone' share_a_library
check 'kselftest installs the tests' kselftest_installs
check 'comments keep to 100 columns and to the words of the project' worded
check 'the documents name the tests and files that are there' documented
check 'the module says the version that CHANGELOG.md begins with' versioned
[[ $failed -eq 0 ]]

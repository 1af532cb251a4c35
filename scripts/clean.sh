#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Usage: scripts/clean.sh [--all]
#
# Removes the files that were built from this source tree, in the cache and in the tree itself. With
# --all, removes everything that the scripts have made: the build environment, the kernels, the
# guests' system, the logs. Parts that another run is using stay.

# shellcheck source=scripts/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
begin "$@"

names=(module-\* lint-\* mutants-\* host deb-\* packages packages-\*)
[[ ${1:-} == --all ]] && names+=(buildenv buildenv-\* checkers firmware packer machine-\* cargo guest guest-\* kernel-\* kasan-\* kcsan-\* bench patches run log)

# Removes the files that a build with M=<this tree> leaves in the tree.
in_tree() {
	find "$tree" -name .git -prune -o -type f \( -name '*.o' -o -name '*.ko' -o -name '*.mod' \
		-o -name '*.mod.c' -o -name '*.cmd' -o -name '.*.d' -o -name '*.rmeta' \
		-o -name '*.rsi' -o -name modules.order -o -name Module.symvers \
		-o -path '*/src/linux/bindings_generated.rs' \
		-o -path '*/src/linux/bindings_static.c' \) -print0 | xargs -0r rm -f
}
in_tree

shopt -s nullglob
busy=0
for name in "${names[@]}"; do
	# shellcheck disable=SC2231 # a pattern
	for dir in "$cache"/$name; do
		[[ -d $dir ]] || continue
		exec {fd}>"$cache/lock/$(basename "$dir")"
		if ! flock -n "$fd"; then
			say "another run is busy with $dir: it stays"
			busy=1
			continue
		fi
		for item in "$dir" "$dir"/*/; do
			exec {item_fd}<"$item"
			flock -n "$item_fd" || {
				say "another run is using $item: it stays"
				busy=1
				continue 2
			}
		done
		remove_tree "$dir"
		exec {fd}>&-
	done
done
if [[ ${1:-} == --all && $busy -eq 0 ]]; then
	remove_tree "$cache/lock"
	rmdir "$cache" 2>/dev/null ||
		say "$cache is not empty: files that these scripts have not made stay there"
fi
exit "$busy"

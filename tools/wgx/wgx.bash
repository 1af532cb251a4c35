# SPDX-License-Identifier: GPL-2.0
# Completion of wgx for bash.

# Completes the words after the interface of `wgx set`: settings and their values in turn.
_wgx_set() {
	local words='sealed validation local-ipv4 local-ipv6 bind-ifindex'
	words+=' aggregate-tx aggregate-rx copy-dscp copy-flow-label peer'
	if ((COMP_CWORD % 2 == 0)); then
		case ${COMP_WORDS[COMP_CWORD - 1]} in
		peer) words=$(wg show "${COMP_WORDS[2]}" peers 2>/dev/null) ;;
		sealed) words=yes ;;
		bind-ifindex) words="none $(ls /sys/class/net)" ;;
		validation) words='trusting proving strict parameter' ;;
		aggregate-tx | aggregate-rx) words='always never parameter' ;;
		disabled | require-preshared-key | pinned | copy-dscp | copy-flow-label) words='yes no' ;;
		*) return ;;
		esac
	elif [[ " ${COMP_WORDS[*]:3:COMP_CWORD - 3} " == *' peer '* ]]; then
		words='label disabled require-preshared-key sealed endpoint pinned endpoints peer'
	fi
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}

_wgx() {
	local cur=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]}
	if ((COMP_CWORD == 1)); then
		mapfile -t COMPREPLY < <(compgen -W 'show monitor why set --help' -- "$cur")
	elif [[ $cur == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W '--json --help' -- "$cur")
	elif ((COMP_CWORD == 2)) && [[ $command == @(show|why|set) ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$(wg show interfaces 2>/dev/null)" -- "$cur")
	elif ((COMP_CWORD == 3)) && [[ $command == why ]]; then
		mapfile -t COMPREPLY < <(compgen -W \
			"$(wg show "${COMP_WORDS[2]}" peers 2>/dev/null)" -- "$cur")
	elif ((COMP_CWORD > 2)) && [[ $command == set ]]; then
		_wgx_set
	fi
}
complete -F _wgx wgx

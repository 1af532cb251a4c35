# SPDX-License-Identifier: GPL-2.0
# Completion of wgx for bash.

_wgx() {
	local cur=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]}
	if ((COMP_CWORD == 1)); then
		mapfile -t COMPREPLY < <(compgen -W 'show monitor why --help' -- "$cur")
	elif [[ $cur == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W '--json --help' -- "$cur")
	elif ((COMP_CWORD == 2)) && [[ $command == show || $command == why ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$(wg show interfaces 2>/dev/null)" -- "$cur")
	elif ((COMP_CWORD == 3)) && [[ $command == why ]]; then
		mapfile -t COMPREPLY < <(compgen -W \
			"$(wg show "${COMP_WORDS[2]}" peers 2>/dev/null)" -- "$cur")
	fi
}
complete -F _wgx wgx

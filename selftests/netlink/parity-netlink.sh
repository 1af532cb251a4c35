#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The same requests to the kernel's own module and to ours have the same results.
#
# guests: 1
# timeout: 400
# memory: 1024

LIMIT=${LIMIT:-1200}	# the first test sends all requests
. "$(dirname "$0")/../lib/lib.sh"

OUT=/tmp/parity-netlink

# record c|rust: loads that module in place of the other, and records its answers to the requests of
# all families.
record() {
	[[ ! -d /sys/module/wireguard ]] || wait_for 'the module can be unloaded' rmmod wireguard
	local WG_MODULE=$1
	module_load
	module_prove
	MODULE_FILE=$KO
	[[ $1 == rust ]] || MODULE_FILE=$(modinfo -n wireguard)
	export MODULE_FILE
	python3 $HERE/parity_netlink.py record $OUT/$1 $FAMILIES
}

# answers: has both modules answer all requests, and compares the results. The module under test is
# last, and stays loaded.
answers() {
	local module other=c
	[[ $WG_MODULE == rust ]] || other=rust
	mkdir $OUT || { echo 'the requests could not be sent, see the first test'; return 1; }
	for module in $other $WG_MODULE; do
		record $module
	done
	python3 $HERE/parity_netlink.py compare $OUT/c $OUT/rust $OUT/result $FAMILIES
}

# parity FAMILY: fails unless both modules had the same results for the requests of that family.
parity() {
	[[ -e $KO ]] || skip "there is no $KO to compare with"
	[[ -d $OUT/result ]] || answers
	cat $OUT/result/$1
	[[ $(tail -n 1 $OUT/result/$1) == same ]]
}

t device 'every attribute of the device, ways to name it, headers'
device() { parity device; }

t peers 'every attribute of a new peer and of an existing one'
peers() { parity peers; }

t flags 'flags of a peer together; private keys, peers that have the interface'"'"'s own key'
flags() { parity flags; }

t endpoints \
	'endpoints of every size and family; ports, marks and keepalives of interfaces up and down'
endpoints() { parity endpoints; }

t allowedips 'every attribute of an allowed IP'
allowedips() { parity allowedips; }

t prefixes 'allowed IPs of all lengths, their moves between peers and their removal'
prefixes() { parity prefixes; }

t partial 'the part of a request that is done when the request fails'
partial() { parity partial; }

t random 'random requests'
random() { parity random; }

t mutated 'requests with wrong bytes'
mutated() { parity mutated; }

t family 'the family, its operations and policies'
family() { parity family; }

t dumps 'dumps of many messages into buffers of all sizes, and dumps that are interrupted'
dumps() { parity dumps; }

t link 'the interface as rtnetlink shows it, all that `ip link` can change, addresses and routes'
link() { parity link; }

t newlink 'requests for a new interface, right and wrong'
newlink() { parity newlink; }

t sysfs 'the files of an interface in /sys and /proc'
sysfs() { parity sysfs; }

t ethtool 'features and everything else that ethtool shows and sets'
ethtool() { parity ethtool; }

t module 'aliases, version and files of the module'
module() { parity module; }

t rights 'the rights that each request needs'
rights() { parity rights; }

t owner 'the rights of a namespace'"'"'s owner over its own interface and over one made outside'
owner() { parity owner; }

# The families whose requests are sent: all, unless tests are named.
[[ ${1:-} == --one ]] || export FAMILIES=${*:-${TESTS[*]}}

run "$@"

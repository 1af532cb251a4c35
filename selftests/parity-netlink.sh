#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The same requests to the kernel's own module and to ours: what comes of them is the same.
#
# guests: 1
# timeout: 400
# memory: 1024

LIMIT=${LIMIT:-1200}	# the first test sends all requests
. "$(dirname "$0")/lib.sh"

OUT=/tmp/parity-netlink

# Loads a module in place of the other one, and has it answer the requests of all families.
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

# Has both modules answer all requests, the one under test last, which stays, and compares what they made of them.
answers() {
	local module other=c
	[[ $WG_MODULE == rust ]] || other=rust
	mkdir $OUT || { echo 'the requests could not be sent, see the first test'; return 1; }
	for module in $other $WG_MODULE; do
		record $module
	done
	python3 $HERE/parity_netlink.py compare $OUT/c $OUT/rust $OUT/result $FAMILIES
}

# parity FAMILY: both modules have made the same of the requests of a family.
parity() {
	[[ -e $KO ]] || skip "there is no $KO to compare with"
	[[ -d $OUT/result ]] || answers
	cat $OUT/result/$1
	[[ $(tail -n 1 $OUT/result/$1) == same ]]
}

t device 'every attribute of the device, ways to name it, headers'
device() { parity device; }

t peers 'every attribute of a peer that is new and of one that is there'
peers() { parity peers; }

t flags 'flags of a peer together; private keys, peers that have the interface'"'"'s own key'
flags() { parity flags; }

t endpoints 'endpoints of every size and family; ports, marks and keepalives of an interface that goes up and down'
endpoints() { parity endpoints; }

t allowedips 'every attribute of an allowed IP'
allowedips() { parity allowedips; }

t prefixes 'allowed IPs of all lengths, their moves between peers and their removal'
prefixes() { parity prefixes; }

t partial 'what of a request has been done when it fails'
partial() { parity partial; }

t random 'requests made by chance'
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

t ethtool 'features and all else that ethtool shows and sets'
ethtool() { parity ethtool; }

t module 'aliases, version and files of the module'
module() { parity module; }

t rights 'who may do what'
rights() { parity rights; }

t owner 'what the owner of a network namespace may do to his own interface and to one from outside'
owner() { parity owner; }

# Which of them are to be sent.
[[ ${1:-} == --one ]] || export FAMILIES=${*:-${TESTS[*]}}

run "$@"

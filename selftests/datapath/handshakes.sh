#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Handshake messages that must not be taken, and the sessions that follow from those that are. The
# tests check which counters of the interface change and by how much, what the log says, that no
# answer goes to a sender that must get none, and that no endpoint moves.
#
# handshakes.py has the messages, and is the far end of the tunnel as well.
#
# guests: 1
# clock: instructions
# kernels: stock kasan
# kasan: handshakes overflow

. "$(dirname "$0")/../lib/lib.sh"

t handshakes 'invalid handshake messages are dropped and not answered'
handshakes() { scripted handshakes; }

t response 'a response moves the endpoint, before any data'
response() { scripted response; }

t private_key 'after a new private key nothing is sent under the sessions of the old one'
private_key() { scripted private_key; }

t sessions 'a new session is used from its first message on, and only one older session is kept'
sessions() { scripted sessions; }

t cookies 'one cookie reply to each initiation is taken, if it can be decrypted'
cookies() { scripted cookies; }

t overflow 'handshake messages that find no room are dropped'
overflow() { scripted overflow; }

t strangers 'messages of senders without the public key bring no load: a peer needs no cookie'
strangers() {
	[[ $WG_MODULE == rust ]] || skip 'with the C module they fill its queue'
	scripted strangers
}

run "$@"

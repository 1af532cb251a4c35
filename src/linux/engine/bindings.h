/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The C headers that bindgen reads: those of the general faces, and what only the engine wants.
 */
#include <uapi/linux/wireguard.h>

#include "../bindings.h"
#include "helpers.h"

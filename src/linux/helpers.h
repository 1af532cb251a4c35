/* SPDX-License-Identifier: GPL-2.0 */
/*
 * C functions for what bindgen cannot bind: macros, and inline functions that bindgen cannot wrap.
 * The header is read by bindgen with bindings.h and by helpers.c.
 */
#ifndef _LINUX_HELPERS_H
#define _LINUX_HELPERS_H

/* none yet */

#endif

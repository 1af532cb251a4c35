# SPDX-License-Identifier: GPL-2.0
#
# How many times slower than the stock kernel a debug kernel is: with KASAN and lockdep, or with
# KCSAN. Sourced by lib.sh in a guest, and by scripts/test.sh outside.
#
# shellcheck disable=SC2034 # used by scripts that source this
DEBUG_SLOW=5

# SPDX-License-Identifier: GPL-2.0
"""What the test programs in Python share. lib.sh tells Python where this package is."""

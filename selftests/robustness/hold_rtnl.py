# SPDX-License-Identifier: GPL-2.0
"""Holds the RTNL until this program is ended, and prints `held` when it has the lock.

The kernel takes the RTNL for an ethtool request before it has read all of the request. The rest of
this request lies in a page that is not there: userfaultfd(2) asks this program for the page, and
the program never fills it.
"""

import ctypes
import fcntl
import mmap
import os
import socket
import struct
import threading
import time

SYS_USERFAULTFD = 323
UFFDIO_API, UFFDIO_REGISTER = 0xC018AA3F, 0xC020AA00
UFFD_API, UFFDIO_REGISTER_MODE_MISSING = 0xAA, 1
SIOCETHTOOL, ETHTOOL_GSTRINGS = 0x8946, 0x1B

PAGE = mmap.PAGESIZE
pages = mmap.mmap(-1, 2 * PAGE)
address = ctypes.addressof(ctypes.c_char.from_buffer(pages))
pages[PAGE - 4:PAGE] = struct.pack("=I", ETHTOOL_GSTRINGS)
fault = ctypes.CDLL(None, use_errno=True).syscall(SYS_USERFAULTFD, os.O_CLOEXEC)
if fault < 0:
    raise OSError(ctypes.get_errno(), "userfaultfd")
fcntl.ioctl(fault, UFFDIO_API, struct.pack("=QQQ", UFFD_API, 0, 0))
register = struct.pack("=QQQQ", address + PAGE, PAGE, UFFDIO_REGISTER_MODE_MISSING, 0)
fcntl.ioctl(fault, UFFDIO_REGISTER, register)


def ask():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, SIOCETHTOOL, struct.pack("=16sQ16x", b"lo", address + PAGE - 4))


threading.Thread(target=ask, daemon=True).start()
# userfaultfd(2) asks for the page: the RTNL is held.
os.read(fault, 32)
print("held", flush=True)
time.sleep(1000)

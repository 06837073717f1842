"""`python tied_exec.py PARENT_PID COMMAND...`: become COMMAND, and be terminated when PARENT_PID dies.

A script of its own rather than `subprocess`'s `preexec_fn`, which runs Python between fork and exec and can
deadlock in a program that has threads (every gRPC client has).
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h; survives execve

parent_pid, command = int(sys.argv[1]), sys.argv[2:]
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
if os.getppid() != parent_pid:  # it died before the line above, so nothing would be sent any more
    sys.exit(1)
os.execv(command[0], command)

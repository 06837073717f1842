"""`python tied_exec.py PARENT_PID COMMAND...`: become COMMAND, and be terminated when PARENT_PID dies.

This is a separate script, because `subprocess`'s `preexec_fn` runs Python between fork and exec. That can deadlock in a
program with threads, and every gRPC client has threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h; survives execve

parent_pid, command = int(sys.argv[1]), sys.argv[2:]
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
if os.getppid() != parent_pid:  # the parent died before the prctl call, so no signal would come
    sys.exit(1)
os.execv(command[0], command)

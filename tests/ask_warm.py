"""Has a Python command run by a fork of tests/warm.py: ask_warm.py SOCKET ARGUMENT ..., and ends as the fork ends.

It imports next to nothing, as it is what has to start each time.
"""

import json
import os
import signal
import socket
import sys

address, *arguments = sys.argv[1:]
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
    connection.connect(address)
    asked = {"arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ)}
    socket.send_fds(connection, [json.dumps(asked).encode()], [0, 1, 2])
    status = int(connection.recv(16) or 1)
if status < 0:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.kill(os.getpid(), -status)
sys.exit(status)

"""The program `dvc` or `python` of `warm`: asks the server for a process, and ends as that process does."""

import os
import socket
import sys

FORKED = ("app", "commands", "pytest", "stages")

address, program, *arguments = sys.argv[1:]
module = arguments[:1] == ["-m"] and arguments[1].split(".")[0]
if program == "python" and module not in FORKED:
    os.execv(sys.executable, [sys.executable, *arguments])
words = [program, *arguments]
with socket.socket(socket.AF_UNIX) as server:
    server.connect(address)
    environment = [name + b"=" + value for name, value in os.environb.items()]
    request = [os.getcwdb(), b"%d" % len(words), *map(os.fsencode, words), *environment]
    text = b"\0".join(request)
    sent = socket.send_fds(server, [text], [0, 1, 2])
    server.sendall(text[sent:])
    server.shutdown(socket.SHUT_WR)
    code = int(server.recv(16) or 1)
if code < 0:
    os.kill(os.getpid(), -code)
sys.exit(code)

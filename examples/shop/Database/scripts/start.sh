#!/bin/sh
# Starts the store as a daemon; returns when it accepts connections, or fails and says why.
set -eu
exec python3 -u ../store.py start "$ip" "$port"

#!/bin/sh
# Stops the daemon; returns when it is gone. Nothing to do where none runs.
set -eu
exec python3 -u ../store.py stop

#!/bin/sh
# The database leaves this machine: so does its data.
set -eu
rm -f -- "$ROBO_DATA_DIR/store.journal" "$ROBO_DATA_DIR/store.journal.new" "$ROBO_DATA_DIR/store.pid"

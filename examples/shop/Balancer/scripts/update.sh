#!/bin/sh
# Backends came, went or moved: the agent has written the new list to $ROBO_CONTEXT before it runs this.
# The balancer reads that file again; requests under way are not disturbed.
set -eu
echo "update: ${ROBOCONF_IMPORT_CHANGED_INSTANCE_PATH:-imports} changed, backends now: ${backend_size:-0}"
kill -HUP "$(cat "$ROBO_DATA_DIR/balancer.pid")"

#!/bin/sh
# Makes the store, with the products of the recipe's files/ folder. What is there already, stays:
# a new version of this recipe is deployed over the old one's data.
set -eu
exec python3 -u ../store.py init "$ROBOCONF_FILES_DIR/products.json"

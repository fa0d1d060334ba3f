#!/bin/sh
# Writes seeds for the targets of link and streams to the folder that is given: one file for each golden message, and
# all of them in a row, for targets that take frames; and the same behind a begin of steps, for those that take steps.
set -eu
into=${1:?"the folder that the seeds go to"}
golden=$(dirname "$0")/../wire/tests/golden.txt
mkdir -p "$into/frames" "$into/steps"
: >"$into/frames/all"
while read -r name hex; do
	printf %s "$hex" | xxd -r -p >"$into/frames/$name"
	cat "$into/frames/$name" >>"$into/frames/all"
	# No steps, and after eight of them: answers, time that passes, something that moved.
	{ printf '\000' && cat "$into/frames/$name"; } >"$into/steps/$name"
	{ printf '\010\001\001\001\037\002\001\376\001' && cat "$into/frames/$name"; } >"$into/steps/$name-later"
done <"$golden"
{ printf '\010\001\001\001\037\002\001\376\001' && cat "$into/frames/all"; } >"$into/steps/all"

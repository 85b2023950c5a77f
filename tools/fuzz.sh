#!/bin/sh
# fuzz.sh TIME: run every fuzz target of the module for TIME each.
set -eu
time=${1:-5s}
output=$(mktemp)
trap 'rm -f "$output"' EXIT

# fuzz DIR TARGET: a machine that is late makes go's own end of a run look like a
# failure ("context deadline exceeded" and no input): then once more.
fuzz() {
	for attempt in 1 2; do
		status=0
		go test "./$1" -run '^$' -fuzz "^$2\$" -fuzztime "$time" -fuzzminimizetime 20x -parallel 2 </dev/null >"$output" 2>&1 || status=$?
		cat "$output"
		if [ "$status" = 0 ] || grep -q 'Failing input' "$output" || ! grep -q 'context deadline exceeded' "$output"; then
			return "$status"
		fi
	done
	return "$status"
}

git ls-files '*_test.go' | xargs grep -l '^func Fuzz' | xargs -n1 dirname | sort -u | while read -r dir; do
	grep -hoE '^func Fuzz[A-Za-z0-9_]+' "$dir"/*_test.go | sed 's/^func //' | while read -r target; do
		echo "fuzz ./$dir $target"
		fuzz "$dir" "$target"
	done
done

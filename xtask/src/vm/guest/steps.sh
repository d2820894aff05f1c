#!/bin/busybox sh
# Runs the steps and says what each answered. /vm/list has a name and a command on each line.
export PATH=/usr/bin:/usr/sbin HOME=/root TMPDIR=/tmp PODSCOPE_CACHE=/cache LANG=C
. /vm/environment
echo "@@ kernel $(uname -r)"
while read -r name command; do
    echo "@@ begin $name"
    sh -c "$command" </dev/null 2>&1
    code=$?
    # Also where the step did not end its last line.
    printf '\n@@ end %s\n' "$code"
done </vm/list
echo "@@ done"
poweroff -f

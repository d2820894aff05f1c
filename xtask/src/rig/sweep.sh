# A rig's janitor: keeps the mount namespace that the rig's containerd joins, and when the rig ends, however it ends,
# kills its processes and removes its cgroups, mounts and files. $1: the rig's folder.
#
# The end of the rig is the end of this program's standard input: the kernel closes the other side even when the
# rig's process is killed.
exec 2>&1
dir=$1
entered=

if [ -d "$dir/run" ]; then
    # containerd keeps shim sockets, runc its states below /run, in fixed places: here they fall into the rig's folder.
    # Read-only: whatever happens, nothing of the host's is removed here. Its sockets can be used all the same.
    if [ -d "$dir/run/systemd" ]; then
        mount -o bind,ro /run/systemd "$dir/run/systemd" || exit 1
    fi
    mount --rbind "$dir/run" /run || exit 1
    readlink /proc/self/ns/mnt >"$dir/namespace" || exit 1
    echo ready
    entered=yes
fi
exec >/dev/null 2>&1
trap '' INT TERM HUP
cat

# Runtimes and shims stand in the rig's mount namespace. Square brackets are a pattern to find.
runtimes() {
    namespace=$(sed 's/[][]/\\&/g' "$dir/namespace")
    find /proc/[0-9]*/ns/mnt -lname "$namespace" | cut -d/ -f3 | grep -vx $$
}

# The cgroup folders of the rig's pods in every hierarchy, the deepest first.
cgroups() {
    while read -r path; do
        for top in /sys/fs/cgroup /sys/fs/cgroup/*; do
            [ -d "$top$path" ] && find "$top$path" -depth -type d
        done
    done <"$dir/cgroups"
}

for _ in $(seq 100); do
    for pid in $(runtimes); do
        kill -KILL "$pid"
    done
    left=$(cgroups)
    [ -z "$left" ] && break
    for group in $left; do
        # Of v1: what is frozen does not even die.
        [ -f "$group/freezer.state" ] && echo THAWED >"$group/freezer.state"
        # A process of a foreign pid namespace is listed as 0, which means this process group to kill.
        for pid in $(grep -vx 0 "$group/cgroup.procs"); do
            kill -KILL "$pid"
        done
        rmdir "$group"
    done
    sleep 0.05
done

# The folders above the pods' go when no other pod is in them.
while read -r path; do
    for top in /sys/fs/cgroup /sys/fs/cgroup/*; do
        above=${path%/*}
        while [ -n "$above" ]; do
            rmdir "$top$above"
            above=${above%/*}
        done
    done
done <"$dir/cgroups"

[ -n "$entered" ] && umount -l -R /run
awk -v dir="$dir/" 'index($2, dir) == 1 { print $2 }' /proc/self/mounts | sort -r | xargs -r -n 1 umount -l
rm -rf --one-file-system "$dir"

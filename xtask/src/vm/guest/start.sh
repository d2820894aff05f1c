#!/bin/busybox sh
# Mounts what a system has, and hands over to the steps, or to systemd, which starts them as its only service.
export PATH=/usr/bin:/usr/sbin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs run /run
word() { sed -n "s/.*podscope\.$1=\([^ ]*\).*/\1/p" /proc/cmdline; }
# Nothing but the end of the kernel itself may break a line of the steps.
dmesg -n 1
for module in /vm/modules/*.ko; do
    insmod "$module"
done
ip link set lo up
case $(word cgroups) in
v1)
    mount -t tmpfs cgroups /sys/fs/cgroup
    for group in cpu,cpuacct cpuset blkio memory devices freezer net_cls,net_prio perf_event pids; do
        mkdir "/sys/fs/cgroup/$group"
        mount -t cgroup -o "$group" "$group" "/sys/fs/cgroup/$group"
    done
    for one in cpu cpuacct; do
        ln -s cpu,cpuacct "/sys/fs/cgroup/$one"
    done
    ;;
v2)
    mount -t cgroup2 cgroups /sys/fs/cgroup
    for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
        echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control
    done
    ;;
systemd)
    exec /usr/lib/systemd/systemd --unit=podscope-vm.service
    ;;
esac
exec /vm/steps

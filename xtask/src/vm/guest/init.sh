#!/bin/busybox sh
# A guest's first process.
#
# Container runtimes exchange their root by pivot_root(2), which the kernel refuses where the root is the file system
# that it was booted with. A bind mount of it over itself is another one.
export PATH=/usr/bin:/usr/sbin
# A link for every program of busybox that is not there already.
/bin/busybox --install -s /usr/bin 2>/dev/null
mount -o bind / /mnt
cd /mnt || exit 1
mount -o move . /
exec chroot . /vm/start

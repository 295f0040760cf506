#!/bin/sh
# Init of a virtual machine without systemd: what every program expects to be mounted, then the agent.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mkdir -p /dev/pts /dev/shm
mount -t devpts -o gid=5,mode=620 devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t cgroup2 cgroup /sys/fs/cgroup
ln -sf /proc/self/fd /dev/fd
hostname drover-vm
ip link set dev lo up
modprobe -q tun
# Where there is a udev, it loads the processor's AES.
modprobe -q aesni_intel
/run/vm/agent.sh
exec busybox poweroff -f

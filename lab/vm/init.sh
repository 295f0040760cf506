#!/bin/busybox sh
# First process of the virtual machine: the machine's own root by 9p, read-only, under a layer in memory; then the
# system's init (the kernel's command line says which).
/bin/busybox mkdir -p /sbin
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
while read -r module || [ -n "$module" ]; do insmod "/modules/$module"; done </modules/order

word() { for one in $(cat /proc/cmdline); do case $one in "$1="*) echo "${one#*=}" ;; esac; done; }
nine=trans=virtio,version=9p2000.L,msize=512000
fail() { echo "drover-vm: $1"; poweroff -f; }

mount -t 9p -o $nine,ro,cache=loose machine /lower || fail 'no root over 9p'
mount -t tmpfs -o size=90% layer /layer
mkdir /layer/upper /layer/work
mount -t overlay -o lowerdir=/lower,upperdir=/layer/upper,workdir=/layer/work root /root || fail 'no overlay'

# What the machine does at its own boot is none of ours: nothing is enabled, and /tmp is not emptied.
rm -rf /root/etc/systemd/system/*.wants
: >/root/etc/fstab
: >/root/etc/tmpfiles.d/tmp.conf
echo drover-vm >/root/etc/hostname
echo 0123456789abcdef0123456789abcdef >/root/etc/machine-id

mount -t tmpfs -o mode=0755 run /root/run
rm -rf /root/var/run && ln -s /run /root/var/run
mkdir -p /root/run/vm /root/run/compiled "/root/usr/lib/modules/$(uname -r)"
mount -t 9p -o $nine,cache=none share /root/run/vm || fail 'no share'
mount -t 9p -o $nine,cache=loose compiled /root/run/compiled || fail 'no compiled code'
mount --bind "/root$(word drover.modules)" "/root/usr/lib/modules/$(uname -r)" || fail 'no modules'

init=$(word drover.init)
if [ "$init" = /lib/systemd/systemd ]; then
  mkdir -p /root/run/systemd/system/multi-user.target.wants
  cp /root/run/vm/agent.service /root/run/systemd/system/drover-vm.service
  ln -s ../drover-vm.service /root/run/systemd/system/multi-user.target.wants/drover-vm.service
fi
for one in proc sys dev; do mount --move /$one /root/$one; done
exec switch_root /root "$init"

#!/usr/bin/env bash
# Runs the three SCTP specs of Kubernetes' NetworkPolicy tests on the lab in a virtual machine with Debian's
# kernel, for a machine whose own has no SCTP. It needs:
#   NETPOL_E2E, AGNHOST     the tests and the program that their pods run
#   qemu-system-x86_64, and apt-get to download linux-image-amd64 and busybox-static (nothing is installed)
# ACCEL=kvm is faster where that works. In the virtual machine there are no more files than the ones copied
# below, and no network but its own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
: "${NETPOL_E2E:?}" "${AGNHOST:?}"
specs=${1:-SCTPConnectivity}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cache=${XDG_CACHE_HOME:-$HOME/.cache}/hello-network-policy/debian-kernel
mkdir -p "$cache"
kernel=$(apt-cache depends linux-image-amd64 | awk '/Depends: linux-image/ { print $2; exit }')
if [ ! -d "$cache/$kernel" ]; then
  (cd "$work" && apt-get download "$kernel" busybox-static 2>/dev/null)
  for package in "$work"/*.deb; do dpkg -x "$package" "$work/unpacked"; done
  mv "$work/unpacked" "$cache/$kernel"
fi
from=$cache/$kernel
release=${kernel#linux-image-}

root=$work/root
mkdir -p "$root"/{bin,dev,etc,lib/modules,proc,sys,tmp,run}
# The kernel loads modules with /sbin/modprobe.
ln -s bin "$root/sbin"
cp "$from/bin/busybox" "$root/bin/"
cp target/release/hello-lab target/release/hello-lab-shim "$root/bin/"
cp "$NETPOL_E2E" "$root/bin/netpol.test"
cp "$AGNHOST" "$root/bin/agnhost"
ldd target/release/hello-lab | awk '$3 ~ /^\// { print $3 } $1 ~ /^\// { print $1 }' | while read -r library; do
  install -D "$library" "$root$library"
done
# Only what has to do with networks, and what these modules need.
modules=lib/modules/$release
for part in kernel/net kernel/lib kernel/crypto kernel/arch/x86/crypto kernel/drivers/net/veth.ko; do
  mkdir -p "$root/$modules/$(dirname "$part")"
  cp -r "$from/$modules/$part" "$root/$modules/$part"
done
cp "$from/$modules"/modules.{order,builtin} "$root/$modules/"
echo 'root:x:0:0::/:/bin/sh' >"$root/etc/passwd"
touch "$root"/etc/{hosts,resolv.conf,hostname,nsswitch.conf}
cat >"$root/init" <<SH
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts
mount -t devpts devpts /dev/pts
mount -t tmpfs tmp /tmp
depmod
# Who makes a network namespace as root loads what it asks for; SCTP is loaded as an administrator does.
modprobe sctp
ip link set lo up
export HOME=/tmp PATH=/bin
hello-lab run --denied reject --image registry.k8s.io/e2e-test-images/agnhost:2.56=/bin/agnhost -- \
  sh -c 'netpol.test --kubeconfig "\$KUBECONFIG" --provider=skeleton --kube-api-content-type=application/json \
    -ginkgo.focus "$specs" -ginkgo.no-color'
echo "the tests' exit code: \$?"
poweroff -f
SH
chmod +x "$root/init"
(cd "$root" && find . | "$from/bin/busybox" cpio -o -H newc 2>/dev/null) >"$work/initramfs"

timeout "${SECONDS_AT_MOST:-1500}" qemu-system-x86_64 -accel "${ACCEL:-tcg}" -cpu max -smp 2 -m 4096 \
  -nodefaults -nographic -no-reboot -serial stdio \
  -kernel "$from/boot/vmlinuz-$release" -initrd "$work/initramfs" \
  -append "console=ttyS0 quiet panic=-1" </dev/null | tee "$work/console"
grep -q "^the tests' exit code: 0" "$work/console"

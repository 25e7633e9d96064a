#!/bin/bash
# On a hosted runner: opens /dev/kvm, which is there for root alone, and says what a container would lack.
set -euo pipefail

echo 'KERNEL=="kvm", GROUP="kvm", MODE="0666", OPTIONS+="static_node=kvm"' |
  sudo tee /etc/udev/rules.d/99-kvm.rules
sudo udevadm control --reload-rules
sudo udevadm trigger --name-match=kvm
sudo udevadm settle
if ! [[ -r /dev/kvm && -w /dev/kvm ]]; then
  echo 'this runner has no /dev/kvm to open; choose one with nested virtualisation' >&2
  exit 1
fi
fixtures/guest/container.sh --check

#!/bin/bash
# On a hosted runner: opens /dev/kvm and starts Debian 12 as the container `debian`, in which the
# checkout has the path that it has outside.
set -euo pipefail

# Hosted runners have /dev/kvm, for root alone.
echo 'KERNEL=="kvm", GROUP="kvm", MODE="0666", OPTIONS+="static_node=kvm"' |
  sudo tee /etc/udev/rules.d/99-kvm.rules
sudo udevadm control --reload-rules
sudo udevadm trigger --name-match=kvm
sudo udevadm settle
if ! [[ -r /dev/kvm && -w /dev/kvm ]]; then
  echo 'this runner has no /dev/kvm to open; choose one with nested virtualisation' >&2
  exit 1
fi

docker run --detach --name debian --privileged --device /dev/kvm --device /dev/fuse \
  --volume "$GITHUB_WORKSPACE:$GITHUB_WORKSPACE" --workdir "$GITHUB_WORKSPACE" \
  debian:12 sleep infinity
docker exec debian sh -c 'apt-get update && apt-get install --yes git make'
# The checkout is the runner's user's; git tells the evidence which commit it is.
docker exec debian git config --global --add safe.directory "$GITHUB_WORKSPACE"

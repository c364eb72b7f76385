#!/usr/bin/env bash
# Makes the virtual environment, installs the pinned packages, and sees to the off-screen GL library that
# MuJoCo renders with. Safe to run again: what is there already is left alone.
# Usage: scripts/setup.sh [VENV]      PYTHON=python3.12 scripts/setup.sh
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${1:-.venv}

python=${PYTHON:-}
if [ -z "$python" ]; then
  for candidate in python3.11 python3.12 python3.13 python3; do
    if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      python=$candidate; break
    fi
  done
fi
[ -n "$python" ] || { echo "HARP needs Python 3.11 or newer and found none: install one, or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; }

if [ ! -x "$venv/bin/python" ]; then
  echo "Creating the virtual environment $venv with $($python --version)"
  "$python" -m venv "$venv"
fi

echo "Installing the pinned packages (about 3 GB on disk, one to three minutes on a good connection)"
pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }
# Bytecode is left to the first import: compiling all of it would take longer than the demo needs.
pip install --quiet --no-compile --constraint constraints.txt --editable '.[dev]'
# gym-xarm carries the xArm7's meshes. Only its files are used; its own pins (an older mujoco) are not.
pip install --quiet --no-compile --no-deps "$(grep '^gym-xarm==' constraints.txt)"
# openpi-client drives the policy server in tests. It works with numpy 2, which its pins exclude.
pip install --quiet --no-compile --no-deps "$(grep '^openpi-client==' constraints.txt)"

render='import mujoco; mujoco.GLContext(16, 16).make_current()'
can_render() { MUJOCO_GL=$1 "$venv/bin/python" -c "$render" >/dev/null 2>&1; }
if ! can_render egl && ! can_render osmesa; then
  packages="libegl1 libgl1-mesa-dri"
  apt="apt-get install -y --no-install-recommends $packages"
  if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    echo "Installing the off-screen GL library for MuJoCo: $packages"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive $apt -qq >/dev/null
  fi
  can_render egl || can_render osmesa || {
    echo "MuJoCo found no off-screen GL library: run 'sudo $apt', then this again." >&2; exit 1; }
fi
touch "$venv/.installed"

#!/bin/sh
# Creates $VENV and installs the locked dependencies and this project into it. Uses uv when it is on PATH, else venv and pip.
set -eu
PYTHON=${PYTHON:-python3}
VENV=${VENV:-.venv}

if ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
  echo "kernelregime needs Python 3.11 or newer; '$PYTHON' is $("$PYTHON" --version 2>&1 || echo missing). Set PYTHON=/path/to/python3.12" >&2
  exit 1
fi
# An environment made by another Python, or left half made, is made anew.
want=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
have=$("$VENV/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || echo none)
[ "$want" = "$have" ] || rm -rf "$VENV"

if command -v uv >/dev/null 2>&1; then
  [ -d "$VENV" ] || uv venv -q --python "$PYTHON" "$VENV"
  uv pip install -q --python "$VENV/bin/python" --require-hashes -r requirements.lock
  uv pip install -q --python "$VENV/bin/python" --no-deps --no-build-isolation -e .
else
  if ! "$PYTHON" -c 'import venv, ensurepip' 2>/dev/null; then
    echo "this Python has no venv module: on Debian or Ubuntu run 'apt install python3-venv', or put uv on PATH" >&2
    exit 1
  fi
  [ -d "$VENV" ] || "$PYTHON" -m venv "$VENV"
  "$VENV/bin/python" -m pip --version >/dev/null 2>&1 || "$VENV/bin/python" -m ensurepip >/dev/null  # made by uv earlier
  "$VENV/bin/python" -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
  "$VENV/bin/python" -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
fi

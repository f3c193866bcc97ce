# shellcheck shell=bash
# Sourced by every script beside it. `setup EXTRA` leaves the checkout with a `.venv` that holds tether (editable) and
# what that extra asks for, and costs a tenth of a second when nothing has changed.
#
# It needs Python 3.11 with pip and nothing else: no root, no `venv` or `ensurepip` module (Debian packs them apart), no
# home directory. `virtualenv` comes by `pip install --target`, which also works where the system's Python is marked as
# externally managed (PEP 668). Indexes, proxies and certificates are whatever this machine's pip is configured for.

set -euo pipefail

# A relative PYTHON is meant from where the user stands.
case ${PYTHON:-} in */*) case $PYTHON in /*) ;; *) PYTHON=$PWD/$PYTHON ;; esac ;; esac

# Meant for other programs; each of them could shadow what is installed here.
unset CDPATH PYTHONHOME PYTHONPATH

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
venv=$root/.venv
tools=$root/.venv-tools # locks, the log of the last set-up, and virtualenv while it is needed
cd -- "$root"

say() { printf '%s: %s\n' "script/${0##*/}" "$*" >&2; }

die() {
  say "$*"
  exit 1
}

# hold FD shared|exclusive TEXT: lock the open file FD, and say TEXT if that takes a wait. Without flock (macOS), no lock.
hold() {
  command -v flock >/dev/null || return 0
  flock -n "--$2" "$1" && return 0
  say "$3"
  flock "--$2" "$1" || true # a file system without locks: flock has said so
}

# Prints three lines: the interpreter, what identifies a .venv made from it, and what identifies the wanted contents.
# A .venv knows its own path, so a checkout that was moved needs a new one.
# shellcheck disable=SC2016
facts_of_python='
import sys
if sys.version_info < (3, 11): sys.exit(30)
import hashlib, importlib.util, os, platform
if importlib.util.find_spec("pip") is None: sys.exit(31)
root = sys.argv[1]
inside = os.path.realpath(sys.prefix) == os.path.join(root, ".venv")  # an activated .venv cannot rebuild itself
print(sys._base_executable if inside else sys.executable)
print("made", root, sys.base_prefix, platform.python_implementation(), platform.python_version(), platform.machine())
print(hashlib.sha256(open(os.path.join(root, "pyproject.toml"), "rb").read()).hexdigest())
'

find_python() {
  local candidates=(python3 python3.14 python3.13 python3.12 python3.11) candidate facts status why=
  [ -z "${PYTHON:-}" ] || candidates=("$PYTHON")
  for candidate in "${candidates[@]}"; do
    facts=$("$candidate" -c "$facts_of_python" "$root" 2>/dev/null) && status=0 || status=$?
    case $status in
      0)
        { read -r python && read -r made && read -r wanted; } <<<"$facts"
        return
        ;;
      30) why+="; $candidate is older" ;;
      31) why+="; $candidate has no pip (Debian: apt-get install python3-pip)" ;;
      *) [ "$candidate" != "${candidates[0]}" ] || why+="; $candidate does not start" ;;
    esac
  done
  die "Python 3.11 or newer with pip is needed${why}. PYTHON=/path/to/python3 chooses one."
}

# .venv/.ready names what .venv was made from and what is complete in it; it is absent while .venv is being changed.
noted() { grep -qsxF -- "$1" "$venv/.ready"; }

ready() { [ -x "$venv/bin/python" ] && noted "$made" && noted "tether $wanted" && noted "$1 $wanted"; }

# The requirements of an extra, with tether's own extras unfolded. Installed by themselves, so that adding an extra
# does not reinstall tether beneath a script that is running.
requirements() {
  "$python" - "$1" <<'PY'
import re
import sys
import tomllib

with open("pyproject.toml", "rb") as file:
    extras = tomllib.load(file)["project"]["optional-dependencies"]


def unfold(extra):
    for requirement in extras[extra]:
        if own := re.match(r"tether\[([^]]+)\]", requirement):
            for name in own[1].split(","):
                yield from unfold(name.strip())
        else:
            yield requirement


print(*dict.fromkeys(unfold(sys.argv[1])), sep="\n")
PY
}

make_venv() {
  rm -rf -- "$venv" "$tools/virtualenv" &&
    PIP_REQUIRE_VIRTUALENV=0 "$python" -m pip install --quiet --no-input --target "$tools/virtualenv" virtualenv &&
    PYTHONPATH=$tools/virtualenv "$python" -m virtualenv --quiet --python "$python" --no-download --no-periodic-update \
      --app-data "$tools/virtualenv/app-data" "$venv" &&
    rm -rf -- "$tools/virtualenv"
}

fill_venv() {
  local extra=$1 what=(-r "$tools/requirements.txt")
  requirements "$extra" >"$tools/requirements.txt" || return
  [ "$tether_is_in" = yes ] || what+=(-e .)
  "$venv/bin/python" -m pip install --quiet --no-input "${what[@]}"
}

install() {
  local extra=$1 tether_is_in=no kept=''
  local steps=(fill_venv "$extra")
  # Settings that would send the packages elsewhere than into .venv.
  local -x PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
  unset PIP_TARGET PIP_PREFIX
  if [ -z "${PIP_CACHE_DIR:-}" ] && ! { [ -d "${HOME:-}" ] && [ -w "${HOME:-}" ]; }; then
    local -x PIP_CACHE_DIR=$tools/pip-cache # no home, or not ours
  fi

  if [ -x "$venv/bin/python" ] && noted "$made"; then
    say "setting up (adding what this script needs, about 10 s)…"
    kept=$(cat -- "$venv/.ready")
    ! noted "tether $wanted" || tether_is_in=yes
    rm -f -- "$venv/.ready"
  else
    if [ -e "$venv" ]; then say "setting up anew (.venv is unfinished or of another Python, about 20 s)…"; else
      say "setting up (first run, about 20 s)…"
    fi
    hold 9 exclusive "waiting until the scripts that use the old .venv have ended…"
    steps=(make_venv_and_fill "$extra")
  fi

  # Killed from here on, .venv stays without .ready, and the next run makes it anew.
  trap 'say "interrupted; the next run sets up anew"; exit 130' INT
  if ! ("${steps[@]}") >"$tools/setup.log" 2>&1 </dev/null; then # a subshell, or the trap would speak into the log
    [ -z "$kept" ] || printf '%s\n' "$kept" >"$venv/.ready" # pip gave up by itself: what was there still is
    cat -- "$tools/setup.log" >&2
    die "set-up failed, for the reason above (also in $tools/setup.log)"
  fi
  # Entries of another pyproject.toml go; those of other extras stay.
  {
    printf '%s\n' "$made" "tether $wanted" "$extra $wanted"
    grep -F -- " $wanted" <<<"$kept" || true
  } | sort -u >"$venv/.ready.new"
  mv -- "$venv/.ready.new" "$venv/.ready"
  trap - INT
}

make_venv_and_fill() { make_venv && fill_venv "$1"; }

setup() {
  local extra=$1 lock not_ours="cannot write to $root: use a checkout of your own"
  find_python
  for lock in in-use setup; do
    [ -e "$tools/$lock.lock" ] || { mkdir -p -- "$tools" && : >>"$tools/$lock.lock"; } 2>/dev/null || die "$not_ours"
  done
  # Held for as long as this script lives, `exec` included, so that nobody rebuilds .venv beneath it.
  exec 9<"$tools/in-use.lock"
  hold 9 shared "waiting for another script's set-up…"
  ready "$extra" && return
  [ -w "$tools" ] || die "$not_ours"
  ! command -v flock >/dev/null || flock --unlock 9
  # One set-up at a time. Its children hold the lock too: a pip that outlives a killed script is waited for.
  exec 8<"$tools/setup.lock"
  hold 8 exclusive "waiting for another script's set-up…"
  ready "$extra" || install "$extra"
  hold 9 shared "waiting for another script's set-up…"
  exec 8<&-
}

# Tests prefer a real Redis beside the Valkey of the test extra, and Prometheus' own judge of metrics. Root on Debian gets
# them; anyone else goes on without.
want_servers() {
  local packages=()
  command -v redis-server >/dev/null || packages+=(redis-server)
  command -v promtool >/dev/null || packages+=(prometheus)
  [ ${#packages[@]} -gt 0 ] || return 0
  if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    say "not here: ${packages[*]}; tests use the Valkey server of the test extra, and skip what needs the others"
    return 0
  fi
  say "installing ${packages[*]} with apt-get…"
  exec 8<"$tools/setup.lock"
  hold 8 exclusive "waiting for another script's set-up…"
  local try
  for try in 1 2; do
    [ "$try" = 1 ] || sleep 5
    if apt_get "${packages[@]}" >"$tools/apt.log" 2>&1 </dev/null; then
      exec 8<&-
      return 0
    fi
  done
  exec 8<&-
  cat -- "$tools/apt.log" >&2
  say "could not be installed: ${packages[*]} (apt-get's words are above); the tests go on without"
}

apt_get() (
  export DEBIAN_FRONTEND=noninteractive PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" # dpkg insists on the sbins
  options=(-q -o Acquire::Retries=2 -o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20 -o DPkg::Lock::Timeout=60)
  timeout 90 apt-get "${options[@]}" update && # a network that swallows everything must not cost minutes
    apt-get "${options[@]}" install -y --no-install-recommends "$@"
)

# Shared by the scripts: saying what is being done, and installing system packages. Sourced, never run.

started="$(date +%s)"

# A step of progress, with the seconds since the script began.
step() { printf '\033[1m==>\033[0m [%3ds] %s\n' "$(($(date +%s) - started))" "$*" >&2; }

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# Installs packages with apt-get, as root or through sudo.
install_packages() {
    command -v apt-get >/dev/null 2>&1 \
        || fail "\`$*\` is missing, and this system has no apt-get: install it with your package manager, then run this again"
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null 2>&1 || fail "\`$*\` is missing: install it as root, then run this again"
        as_root=(sudo)
    fi
    step "installing $* from the system's packages"
    # A system service that a package brings must not start: the tests start their own on free ports.
    local log
    log="$(mktemp)"
    if ! { "${as_root[@]}" apt-get update -q \
        && "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
            apt-get install -q -y --no-install-recommends "$@"; } >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        rm -f "$log"
        fail "apt-get could not install $*"
    fi
    rm -f "$log"
}

# Sourced by the suites' `run` scripts: commands that must be there, and the Debian packages that bring them.
missing=()
need() { command -v "$1" >/dev/null || missing+=("$2"); }

# Installs what is missing, as root where there is apt-get; $1 is who asks.
install_missing() {
    python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
    if [ ${#missing[@]} -gt 0 ]; then
        [ "$(id -u)" = 0 ] || { echo "$1: missing: ${missing[*]}; install them, or run this as root on Debian" >&2; exit 2; }
        command -v apt-get >/dev/null || { echo "$1: missing: ${missing[*]}; there is no apt-get here, install them by hand" >&2; exit 2; }
        echo "installing ${missing[*]}" >&2
        apt-get update -q >/dev/null
        DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" >/dev/null
    fi
    command -v cargo >/dev/null || { echo "$1: cargo is missing; install Rust 1.95 or newer" >&2; exit 2; }
}

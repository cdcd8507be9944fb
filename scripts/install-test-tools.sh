#!/usr/bin/env bash
# Installs what the tests need beside Rust and a C compiler: ffmpeg and ffprobe of the system (publisher,
# decoder, judge), and FFmpeg 9 from the Python package imageio-ffmpeg (Enhanced RTMP). Prints what it found.
# Safe to run again; does nothing that is done already.
#
# Source it to get the paths into the environment as well: MEDIAHOOKS_FFMPEG9, and PATH with target/tools.
#
# FFmpeg is a test tool here: nothing of it is linked or shipped.

tools_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tools="$tools_root/target/tools"

# Runs as root, by itself or through sudo.
as_root() {
    if [[ $(id -u) == 0 ]]; then "$@"; elif command -v sudo > /dev/null; then sudo "$@"; else
        echo "please run as root: $*" >&2
        return 1
    fi
}

install_packages() {
    if ! command -v apt-get > /dev/null; then
        echo "this system has no apt-get: please install $* yourself" >&2
        return 1
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq &&
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" > /dev/null
}

have_ffmpeg() { command -v ffmpeg > /dev/null && command -v ffprobe > /dev/null; }

# FFmpeg 9 of a Python: prints its path.
ffmpeg9_of() { "$1" -c 'import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())' 2> /dev/null; }

# Prints the path of FFmpeg 9, wherever it is; fails when it is nowhere.
find_ffmpeg9() {
    if [[ -n ${MEDIAHOOKS_FFMPEG9:-} && -x ${MEDIAHOOKS_FFMPEG9} ]]; then
        echo "$MEDIAHOOKS_FFMPEG9"
    elif [[ -x $tools/python/bin/python ]] && ffmpeg9_of "$tools/python/bin/python"; then
        :
    else
        command -v python3 > /dev/null && ffmpeg9_of python3
    fi
}

install_ffmpeg9() {
    if ! command -v python3 > /dev/null || ! python3 -c 'import ensurepip, venv' 2> /dev/null; then
        install_packages python3 python3-venv || return 1
    fi
    mkdir -p "$tools"
    if python3 -m venv "$tools/python" && "$tools/python/bin/pip" install --quiet 'imageio-ffmpeg==0.8.1'; then
        return 0
    fi
    # No virtual environment to be had: into the user's own packages.
    python3 -m pip install --quiet --user --break-system-packages 'imageio-ffmpeg==0.8.1'
}

install_test_tools() {
    have_ffmpeg || install_packages ffmpeg || return 1
    find_ffmpeg9 > /dev/null || install_ffmpeg9 || return 1
    MEDIAHOOKS_FFMPEG9=$(find_ffmpeg9) || {
        echo "FFmpeg 9 cannot be found after it was installed" >&2
        return 1
    }
    export MEDIAHOOKS_FFMPEG9
    export PATH="$tools/bin:$PATH"
    echo "ffmpeg    $(ffmpeg -version | head -1)"
    echo "FFmpeg 9  $MEDIAHOOKS_FFMPEG9"
}

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
    set -euo pipefail
fi
install_test_tools

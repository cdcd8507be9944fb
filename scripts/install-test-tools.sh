#!/usr/bin/env bash
# Installs what the tests need beside Rust and a C compiler: ffmpeg and ffprobe of the system (publisher,
# decoder, judge), Chromium (player), strace (the test of power cuts), FFmpeg 9 from the Python package imageio-ffmpeg (Enhanced RTMP), and Python, Node.js, Go
# and PHP with what the example receivers and the snippets in the documentation use. Prints what it found.
# Safe to run again; does nothing that is done already.
#
# Source it to get the paths into the environment as well: MEDIAHOOKS_FFMPEG9, and PATH with target/tools.
#
# All of it are test tools: nothing is linked or shipped.

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

# Packages of Python, into a virtual environment in target/tools.
install_python() {
    if ! command -v python3 > /dev/null || ! python3 -c 'import ensurepip, venv' 2> /dev/null; then
        install_packages python3 python3-venv || return 1
    fi
    mkdir -p "$tools"
    if { [[ -x $tools/python/bin/python ]] || python3 -m venv "$tools/python"; } &&
        "$tools/python/bin/pip" install --quiet --disable-pip-version-check "$@"; then
        return 0
    fi
    # No virtual environment to be had: into the user's own packages.
    python3 -m pip install --quiet --user --break-system-packages "$@"
}

install_ffmpeg9() { install_python 'imageio-ffmpeg==0.8.1'; }

# What the example receivers run on, in the versions that they pin. Their lists are kept beside what was
# installed, so that a changed one is installed anew.
examples="$tools_root/examples/receivers"

install_python_receiver() {
    cmp -s "$examples/python/requirements.txt" "$tools/python/requirements.txt" && return 0
    install_python -r "$examples/python/requirements.txt" || return 1
    mkdir -p "$tools/python" && cp "$examples/python/requirements.txt" "$tools/python/"
}

install_node() {
    local missing=()
    command -v node > /dev/null || missing+=(nodejs)
    command -v npm > /dev/null || missing+=(npm)
    [[ ${#missing[@]} == 0 ]] || install_packages "${missing[@]}"
}

# The packages that the folder $1 lists, into target/tools/$2.
install_node_packages() {
    local from=$1 to=$tools/$2
    cmp -s "$from/package-lock.json" "$to/node_modules/installed.json" && return 0
    mkdir -p "$to" &&
        cp "$from/package.json" "$from/package-lock.json" "$to/" &&
        npm ci --prefix "$to" --silent --no-audit --no-fund --ignore-scripts &&
        cp "$from/package-lock.json" "$to/node_modules/installed.json"
}

# Languages without packages.
install_go_and_php() {
    local missing=()
    command -v go > /dev/null || missing+=(golang-go)
    command -v php > /dev/null || missing+=(php-cli)
    [[ ${#missing[@]} == 0 ]] || install_packages "${missing[@]}"
}

have_chromium() { [[ -n ${MEDIAHOOKS_CHROMIUM:-} ]] || command -v chromium > /dev/null; }

install_test_tools() {
    have_ffmpeg || install_packages ffmpeg || return 1
    have_chromium || install_packages chromium || return 1
    # Its mkvinfo judges WebM files.
    command -v mkvinfo > /dev/null || install_packages mkvtoolnix || return 1
    # Records the system calls that the test of power cuts plays back.
    command -v strace > /dev/null || install_packages strace || return 1
    find_ffmpeg9 > /dev/null || install_ffmpeg9 || return 1
    MEDIAHOOKS_FFMPEG9=$(find_ffmpeg9) || {
        echo "FFmpeg 9 cannot be found after it was installed" >&2
        return 1
    }
    install_python_receiver && install_node && install_go_and_php || return 1
    install_node_packages "$examples/node" node || return 1
    # What reads files and playlists for the tests: mp4box.js, hls.js.
    install_node_packages "$tools_root/crates/testkit/judges" judges || return 1
    export MEDIAHOOKS_FFMPEG9
    export PATH="$tools/bin:$PATH"
    echo "ffmpeg    $(ffmpeg -version | head -1)"
    echo "FFmpeg 9  $MEDIAHOOKS_FFMPEG9"
    echo "Chromium  $("${MEDIAHOOKS_CHROMIUM:-chromium}" --version 2> /dev/null)"
    echo "mkvinfo   $(mkvinfo --version)"
    echo "strace    $(strace --version | head -1)"
    echo "node      $(node --version)"
    echo "go        $(go version)"
    echo "php       $(php --version | head -1)"
}

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
    set -euo pipefail
fi
install_test_tools

#!/bin/sh
# Run the core's tests for another platform on this one, and build the extension module for it.
#   test.sh windows    Debian: gcc-mingw-w64-x86-64 wine64
#   test.sh aarch64    Debian: gcc-aarch64-linux-gnu qemu-user
# Rust's library for the platform is rustup's, or built from Debian's rust-web-src by rustc-web.
set -eu
cd "$(dirname "$0")/../.."
here=native/cross
out=${CARGO_TARGET_DIR:-target}/cross
mkdir -p "$out"
out=$(realpath "$out")

case $1 in
windows)
    target=x86_64-pc-windows-gnu
    linker=x86_64-w64-mingw32-gcc
    wine=$(command -v wine64 || echo /usr/lib/wine/wine64)
    runner="$wine"
    export WINEPREFIX="$out/wine" WINEDEBUG=-all
    ;;
aarch64)
    target=aarch64-unknown-linux-gnu
    linker=aarch64-linux-gnu-gcc
    runner="qemu-aarch64 -L /usr/aarch64-linux-gnu"
    ;;
*)
    echo "usage: $0 windows|aarch64" >&2
    exit 2
    ;;
esac
for tool in $linker ${runner%% *}; do
    command -v "$tool" >/dev/null || { echo "$tool is missing: see $0" >&2; exit 1; }
done

cargo=cargo
library=
if ! rustup target add "$target" 2>/dev/null; then
    cargo=/usr/bin/cargo
    library="-Zbuild-std=std,panic_abort,test"
    export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1
fi
upper=$(echo "$target" | tr a-z- A-Z_)
export CARGO_TARGET_DIR="$out" "CARGO_TARGET_${upper}_LINKER=$linker" "CARGO_TARGET_${upper}_RUNNER=$runner"

if [ "$1" = windows ]; then
    # Beside each executable, where the system looks first.
    mkdir -p "$out/$target/debug/deps"
    $linker -shared -o "$out/$target/debug/deps/bcryptprimitives.dll" $here/bcryptprimitives.c -ladvapi32
fi
# Examples in comments run by rustdoc, which has no runner for them; they ran here already.
$cargo test $library --quiet --locked --target "$target" --package bmerge-core --lib --tests
# Python itself is not run: that the module builds and links is what is seen.
PYO3_CROSS_PYTHON_VERSION=3.11 $cargo build $library --quiet --locked --target "$target" \
    --package bmerge-python --features extension-module
ls "$out/$target/debug/" | grep -E '^(lib)?_native\.(dll|so)$'

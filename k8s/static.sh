# To be sourced where the program is built for an image: one static file that needs no library, no
# device and no other file, the same bytes wherever it is built from the same source and compiler.
# glibc has its own resolver inside, so that /etc/hosts and /etc/resolv.conf count as ever.

CARGO_BUILD_TARGET=$(rustc -vV | sed -n 's/^host: //p')

# A static program finds no `getrandom` by its name, and would want /dev/urandom instead.
RUSTFLAGS='-C target-feature=+crt-static --cfg getrandom_backend="linux_getrandom"'

# Neither the folder of the source nor that of the registry is in the file, nor the time.
RUSTFLAGS="$RUSTFLAGS --remap-path-prefix=$PWD=/src"
RUSTFLAGS="$RUSTFLAGS --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
CFLAGS="-ffile-prefix-map=$PWD=/src -ffile-prefix-map=${CARGO_HOME:-$HOME/.cargo}=/cargo"
SOURCE_DATE_EPOCH=0

export CARGO_BUILD_TARGET RUSTFLAGS CFLAGS SOURCE_DATE_EPOCH

# Sourced by the scripts that get what the tests need. It is kept in $cache, outside the tree, from one checkout to the next; .venv links to it.
cache=${KOHAKU_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kohakuhub}
mkdir -p "$cache"

# lock NAME: until this script ends, no other one makes NAME.
lock() { exec 9>"$cache/$1.lock"; flock 9; }
# link NAME TARGET: .venv/TARGET is what lies in the cache as NAME.
link() { mkdir -p "$(dirname ".venv/$2")"; ln -sfn "$cache/$1" ".venv/$2"; }

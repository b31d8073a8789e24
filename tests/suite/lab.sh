# shellcheck shell=bash disable=SC2034 # what is set here is for the scripts beside it
# Read by the scripts beside it, which run something on a lab. Their words up to `--` are for hello-lab, in `lab`;
# what comes after is theirs.
lab=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
  lab+=("$1")
  shift
done
[ $# -eq 0 ] || shift

# Sets `as`, before which a command is run as the user AS, who gets the folder $1; as oneself where there is none.
as_user() {
  as=(env)
  if [ -n "${AS:-}" ]; then
    chown "$AS" "$1"
    as=(setpriv --reuid "$AS" --regid "$(id -g "$AS")" --clear-groups env)
  fi
}

#!/usr/bin/env bash
# The tutorial, step by step, with kubectl alone, on whatever cluster kubectl talks to.
#
# Each command is shown as a person would type it. After each change both clients' logs are
# followed until their polls agree with it, in lines that are newer than the change. Exits 0
# only if every step did what the tutorial says; cleans up what it made.
#
#   WAIT=60   seconds that a change may take until the clients show it
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

WAIT=${WAIT:-60}
POLLS=2 # in a row, to call a client connected or cut off
policy=hello-server-allow-from-hello-client
other=hello-apps
made=()
seen=()
verdict=''

fail() {
  printf '\nvalidate: FAILED: %s\n' "$*" >&2
  exit 1
}

say() { printf '\n## %s\n' "$*"; }

# Shows a command as typed, and runs it.
run() {
  printf '\n$ %s\n' "$*"
  "$@"
}

# Removes what was made, the last first, whatever happened before.
clean_up() {
  # A signal that comes during `IFS= read` finds that IFS here too.
  local status=$? index IFS=$' \t\n'
  trap - EXIT INT TERM HUP
  [ ${#follower[@]} -eq 0 ] || kill "${follower[@]}" 2>/dev/null || true
  [ ${#made[@]} -eq 0 ] || say "Cleaning up"
  for ((index = ${#made[@]} - 1; index >= 0; index--)); do
    # shellcheck disable=SC2086 # each entry is a list of words
    kubectl delete --ignore-not-found --timeout="${WAIT}s" ${made[index]} || status=1
  done
  [ "$status" -ne 0 ] || printf '\n%s\n' "$verdict"
  exit "$status"
}
# The log streams that are being followed: their file descriptors and processes, by client.
declare -A stream=() follower=()

trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# open NAMESPACE LABEL: begins to follow the log of the pod with that label, new lines only.
open() {
  local namespace=$1 label=$2 fd pod
  pod=$(kubectl get pods -n "$namespace" -oname -l "app=$label")
  exec {fd}< <(exec kubectl logs -n "$namespace" --tail 0 -f "$pod")
  follower[$1/$2]=$!
  stream[$1/$2]=$fd
}

# read_until NAMESPACE LABEL connected|blocked: shows the log until the client's last polls
# were all so. A time-out and a refusal are both "blocked"; a name that does not resolve or a
# wrong page is neither.
read_until() {
  local namespace=$1 label=$2 want=$3 fd=${stream[$1/$2]} in='' line state streak=0
  local deadline=$((SECONDS + WAIT))
  [ "$namespace" = default ] || in=" -n $namespace"
  printf "\n\$ kubectl logs%s --tail 0 -f \$(kubectl get pods%s -oname -l app=%s)\n" "$in" "$in" "$label"
  while [ "$streak" -lt "$POLLS" ] && [ "$SECONDS" -lt "$deadline" ]; do
    IFS= read -r -t $((deadline - SECONDS + 1)) -u "$fd" line || break
    printf '%s\n' "$line"
    case $line in
      'Hostname: '*) state=connected ;; # the last line of the page
      'wget: download timed out' | "wget: can't connect to remote host"*) state=blocked ;;
      'wget: '*) state=other ;;
      *) continue ;;
    esac
    if [ "$state" = "$want" ]; then streak=$((streak + 1)); else streak=0; fi
  done
  kill "${follower[$1/$2]}" 2>/dev/null || true
  unset "follower[$1/$2]"
  exec {fd}<&-
  [ "$streak" -lt "$POLLS" ] || return 0
  if [ "$want" = blocked ]; then
    fail "the client app=$label in namespace $namespace still connects after ${WAIT}s, although a NetworkPolicy forbids it. Does a policy engine run in this cluster?"
  fi
  fail "the client app=$label in namespace $namespace did not connect within ${WAIT}s, although nothing forbids it"
}

# expect NAMESPACE STATE-OF-hello STATE-OF-not-hello
expect() {
  open "$1" hello
  open "$1" not-hello
  read_until "$1" hello "$2"
  read_until "$1" not-hello "$3"
  seen+=("$(printf '%-11s app=hello %-10s app=not-hello %s' "$1" "$2" "$3")")
}

command -v kubectl >/dev/null ||
  fail "kubectl is missing; https://kubernetes.io/docs/tasks/tools/ says how to get it"
kubectl version >/dev/null 2>&1 ||
  fail "kubectl reaches no cluster; set KUBECONFIG, or start one with: hello-lab up"
namespace=$(kubectl config view --minify -o 'jsonpath={..namespace}')
[ "${namespace:-default}" = default ] ||
  fail "kubectl is set to the namespace $namespace; the tutorial runs in default: kubectl config set-context --current --namespace=default"
there=$(kubectl get --ignore-not-found -o name \
  deployment/hello-server deployment/hello-client-allowed deployment/hello-client-blocked \
  service/hello-server networkpolicy/$policy namespace/$other)
[ -z "$there" ] || fail "this is there already, and would be in the way; delete it first:"$'\n'"$there"

say "Installing the hello server and its two clients"
made+=("-f ./manifests/hello-app/")
run kubectl apply -f ./manifests/hello-app/
for deployment in hello-server hello-client-allowed hello-client-blocked; do
  run kubectl rollout status "deployment/$deployment" --timeout="${WAIT}s"
done
run kubectl get pods
say "No policy yet: both clients connect"
expect default connected connected

say "Restricting access by the pods' label"
made+=("-f ./manifests/network-policy.yaml")
run kubectl apply -f ./manifests/network-policy.yaml
expect default connected blocked

say "Without the policy the blocked client recovers"
run kubectl delete -f ./manifests/network-policy.yaml
expect default connected connected

say "Restricting access by the namespace's label: both clients of default are cut off"
run kubectl create -f ./manifests/network-policy-namespaced.yaml
expect default blocked blocked

say "A second pair of clients, in a namespace with the label: both connect"
made+=("namespace $other")
run kubectl create ns $other
run kubectl label ns $other team=hello
run kubectl -n $other apply -f ./manifests/hello-app/hello-client.yaml
for deployment in hello-client-allowed hello-client-blocked; do
  run kubectl -n $other rollout status "deployment/$deployment" --timeout="${WAIT}s"
done
expect $other connected connected

say "Both labels in one peer: of the two in $other only app=hello connects, and none in default"
run kubectl replace -f ./manifests/network-policy-combined.yaml
expect $other connected blocked
expect default blocked blocked

say "Seen"
printf '  %s\n' "${seen[@]}"
verdict="validate: OK: each policy let through whom it names, and starved the others (${#seen[@]} observations in ${SECONDS}s)"

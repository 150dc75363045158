#!/bin/sh
# Installs eci-profile into the cluster of KUBECONFIG, creates pods there as dry runs, checks
# the result, and removes everything. Takes the variables of install.sh, and PATIENCE, in seconds.
set -eu
patience=${PATIENCE:-20}
name=${PROFILE_NAME:-eci-profile} namespace=${PROFILE_NAMESPACE:-kube-system}
here=$(cd "$(dirname "$0")" && pwd)
if [ -z "${KUBECONFIG:-}" ]; then
  echo "skipped: KUBECONFIG is not set, so there is no cluster to test in"
  exit 0
fi
taken=$(kubectl -n "$namespace" get --ignore-not-found -o name namespace/eci-profile \
  namespace/eci-profile-test mutatingwebhookconfiguration/eci-profile "configmap/$name")
if [ -n "$taken" ]; then
  echo "test-cluster.sh: $(echo "$taken" | head -n 1) already exists; use another cluster" >&2
  exit 1
fi

# shellcheck disable=SC2317,SC2329  # the trap calls it
clean_up() {
  status=$?
  "$here/install.sh" uninstall
  kubectl -n "$namespace" delete --ignore-not-found "configmap/$name" namespace/eci-profile-test
  exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT TERM
"$here/install.sh" install
kubectl create -f - <<END
apiVersion: v1
kind: Namespace
metadata: {name: eci-profile-test}
END

failures=0
# What preflight.sh has set for the virtual nodes that are there, or the default.
placed=$(kubectl -n "$namespace" get configmap "$name" -o 'jsonpath={.data.virtualNode}' |
  sed -n 's/^{"nodeSelector":\({[^}]*}\).*/\1/p')
placed=${placed:-'{"k8s.aliyun.com/vnode":"true"}'}
node_selector() {
  kubectl create --dry-run=server -o 'jsonpath={.spec.nodeSelector}' -f - <<END
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: eci-profile-test, labels: {alibabacloud.com/eci: "$1"}${2:+, $2}}
spec: {containers: [{name: web, image: nginx}]${3:+, $3}}
END
}
# expect WHAT WANTED LABEL [METADATA [SPEC]]: check the pod's nodeSelector for the virtual node.
# Retried, because kube-apiserver and the function take a moment to see a change.
expect() {
  what=$1 wanted=$2 tries=0
  shift 2
  until got=$(node_selector "$@") && [ "$got" = "$wanted" ]; do
    tries=$((tries + 1))
    if [ "$tries" -gt "$patience" ]; then
      echo "FAILED: $what: the nodeSelector is '$got' instead of '$wanted'"
      failures=$((failures + 1))
      return
    fi
    sleep 1
  done
  echo "ok: $what"
}
daemonset='ownerReferences: [{apiVersion: apps/v1, kind: DaemonSet, name: a, uid: a, controller: true}]'

expect 'a pod with the label goes to the virtual node' "$placed" true
expect 'a pod without the label is not changed' '' other
expect 'a pod of a DaemonSet is not changed' '' true "$daemonset"
expect 'a pod with a nodeName is not changed' '' true '' 'nodeName: none'
kubectl label namespace eci-profile-test alibabacloud.com/eci=true
expect 'a pod in a namespace with the label goes to the virtual node' "$placed" other
expect 'a pod that opts out is not changed' '' false

if kubectl -n "$namespace" patch configmap "$name" --dry-run=server \
  -p '{"data":{"selectors":"[{"}}' >/dev/null 2>&1; then
  echo "FAILED: an invalid profile was not refused"
  failures=$((failures + 1))
else
  echo "ok: an invalid profile is refused"
fi
exit "$((failures > 0))"

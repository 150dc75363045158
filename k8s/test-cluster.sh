#!/bin/sh
# Installs eci-profile into the cluster of KUBECONFIG, creates pods there as dry runs, checks what
# became of them, and removes everything. Takes install.sh's variables.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
if [ -z "${KUBECONFIG:-}" ]; then
  echo "skipped: KUBECONFIG is not set, so there is no cluster to test in"
  exit 0
fi
for taken in 'namespace eci-profile' 'namespace eci-profile-test' \
  'mutatingwebhookconfiguration eci-profile' '-n kube-system configmap eci-profile'; do
  # shellcheck disable=SC2086
  if [ -n "$(kubectl get $taken --ignore-not-found -o name)" ]; then
    echo "test-cluster.sh: $taken is there already; test in another cluster" >&2
    exit 1
  fi
done

clean_up() {
  status=$?
  "$here/install.sh" uninstall
  kubectl -n kube-system delete --ignore-not-found configmap eci-profile
  kubectl delete --ignore-not-found namespace eci-profile-test
  exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT TERM
"$here/install.sh" install
kubectl create namespace eci-profile-test

failures=0
# expect WHAT WANTED LABEL [METADATA [SPEC]]: the pod's nodeSelector for the virtual node
expect() {
  got=$(kubectl create --dry-run=server -o 'jsonpath={.spec.nodeSelector.k8s\.aliyun\.com/vnode}' -f - <<END
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: eci-profile-test, labels: {alibabacloud.com/eci: "$3"}${4:+, $4}}
spec: {containers: [{name: web, image: nginx}]${5:+, $5}}
END
  )
  if [ "$got" = "$2" ]; then
    echo "ok: $1"
  else
    echo "FAILED: $1: the nodeSelector is '$got' instead of '$2'"
    failures=$((failures + 1))
  fi
}
daemonset='ownerReferences: [{apiVersion: apps/v1, kind: DaemonSet, name: a, uid: a, controller: true}]'

# kube-apiserver takes a moment to see a registration.
sleep 5
expect 'a pod with the label goes to the virtual node' true true
expect 'a pod without it stays' '' other
expect 'a pod of a DaemonSet stays' '' true "$daemonset"
expect 'a pod with a node stays' '' true '' 'nodeName: none'
kubectl label namespace eci-profile-test alibabacloud.com/eci=true
sleep 10 # the function knows a namespace's labels for ECI_PROFILE_TTL, 5 s
expect 'a pod in a namespace with the label goes to the virtual node' true other
expect 'a pod that opts out stays' '' false

if kubectl -n kube-system patch configmap eci-profile --dry-run=server \
  -p '{"data":{"selectors":"[{"}}' >/dev/null 2>&1; then
  echo "FAILED: an invalid profile was not refused"
  failures=$((failures + 1))
else
  echo "ok: an invalid profile is refused"
fi
exit "$((failures > 0))"

#!/bin/sh
# Looks at kubectl's current cluster before install.sh writes anything: whether its version needs a
# component, which virtual nodes there are, whether another component reads the same profile, and
# whether this is the right cluster. Reads only. docs/en/install.md explains FORCE and YES.
#   PROFILE_NAME=... PROFILE_NAMESPACE=... [COMPONENTS=...] [FORCE=1] [YES=1] preflight.sh DIRECTORY
# Leaves what it has found in DIRECTORY/found.
# If the profile does not exist yet and its default does not fit the virtual nodes, leaves a
# kustomize component in DIRECTORY/virtual-node that sets the key virtualNode.
set -eu
directory=$1
COMPONENTS=${COMPONENTS:-} FORCE=${FORCE:-} YES=${YES:-}
namespace=$PROFILE_NAMESPACE name=$PROFILE_NAME
default='{"nodeSelector":{"k8s.aliyun.com/vnode":"true"},"tolerations":[{"key":"k8s.aliyun.com/vnode","operator":"Equal","value":"true","effect":"NoSchedule"}]}'

say() { echo "==> $*"; }
fail() {
  echo "install.sh: $*" >&2
  exit 1
}

# Without the component for an older cluster, applying would fail half-way.
look_at_version() {
  minor=$(kubectl get --raw /version | sed -n 's/.*"minor": *"\([0-9]*\).*/\1/p')
  if [ -z "$minor" ] || [ "$minor" -ge 27 ]; then
    return
  elif [ "$minor" -ge 21 ]; then
    needed=before-1.27
  elif [ "$minor" -ge 16 ]; then
    needed=before-1.21
  else
    needed=before-1.16
  fi
  case " $COMPONENTS " in
  *" $needed "*) ;;
  *) fail "COMPONENTS: Kubernetes 1.$minor needs $needed (docs/en/install.md#older-clusters-and-other-components)" ;;
  esac
}

# One line for each virtual node: the label k8s.aliyun.com/vnode, the label type, the name of the
# node, and its taints, each followed by a blank. kubectl reads nodes in pages of 500.
# shellcheck disable=SC2016
template='{{range .items}}{{index .metadata.labels "k8s.aliyun.com/vnode"}}|{{index .metadata.labels "type"}}|{{.metadata.name}}|{{range .spec.taints}}{{.key}}={{if .value}}{{.value}}{{end}}:{{.effect}} {{end}}{{"\n"}}{{end}}'
nodes() {
  kubectl get nodes -l "$1" -o "go-template=$template"
}

# For each kind of virtual node: the number of nodes, a tab, one of them, a tab, and what
# `virtualNode` has to be. The most frequent kind comes first. Taints that Kubernetes and the
# cluster autoscaler put on a node for a while, and those that do not keep pods away, don't count.
kinds() {
  LC_ALL=C awk -F '|' '
    NF < 4 || $3 in seen { next }
    {
      seen[$3] = 1
      # <no value>: without the label, as templates say it.
      label = $1 == "<no value>" ? "\"type\":\"" $2 "\"" : "\"k8s.aliyun.com/vnode\":\"" $1 "\""
      count = split($4, taints, " ")
      for (i = 2; i <= count; i++)  # in any order they are the same kind
        for (j = i; j > 1 && taints[j] < taints[j - 1]; j--) {
          swapped = taints[j]; taints[j] = taints[j - 1]; taints[j - 1] = swapped
        }
      tolerations = ""
      for (i = 1; i <= count; i++) {
        effect = key = taints[i]
        sub(/.*:/, "", effect)
        sub(/=.*/, "", key)
        value = substr(taints[i], length(key) + 2)
        sub(/:[^:]*$/, "", value)
        if (effect == "PreferNoSchedule" || key ~ /^node(\.cloudprovider)?\.kubernetes\.io\// ||
            key == "ToBeDeletedByClusterAutoscaler" ||
            key == "DeletionCandidateOfClusterAutoscaler") continue
        tolerations = tolerations (tolerations == "" ? "" : ",") "{\"key\":\"" key \
          "\",\"operator\":\"Equal\",\"value\":\"" value "\",\"effect\":\"" effect "\"}"
      }
      kind = "{\"nodeSelector\":{" label "}" \
        (tolerations == "" ? "" : ",\"tolerations\":[" tolerations "]") "}"
      if (!(kind in example)) example[kind] = $3
      number[kind]++
    }
    END { for (kind in number) print number[kind] "\t" example[kind] "\t" kind }
  ' | LC_ALL=C sort -k1,1nr -k3,3
}

# The default with, and without, its toleration: it does no harm on a node without taints.
fits_default() { [ "$1" = "$default" ] || [ "$1" = "${default%%,*}}" ]; }

# Sets or suggests virtualNode for the nodes that there are.
look_at_nodes() {
  if ! found=$(nodes type=virtual-kubelet && nodes k8s.aliyun.com/vnode); then
    say "the nodes can't be listed; compare the labels and taints of the virtual nodes with virtualNode in the profile"
    return
  fi
  kinds=$(printf '%s\n' "$found" | kinds)
  if [ -z "$kinds" ]; then
    say "there is no virtual node (label type=virtual-kubelet or k8s.aliyun.com/vnode): deploy VNode, or ack-virtual-node on ACK; until then pods that the profile places stay Pending"
    return
  fi
  case $kinds in
  *'"k8s.aliyun.com/vnode"'*) say "the cluster has VNode, as self-managed clusters do" ;;
  *'"virtual-kubelet.io/provider","operator":"Equal","value":"alibabacloud"'*)
    say "the cluster has virtual nodes of ack-virtual-node, as on ACK"
    ;;
  *) say "the cluster has virtual nodes of neither VNode nor ack-virtual-node" ;;
  esac
  printf '%s\n' "$kinds" | while IFS='	' read -r number example kind; do
    say "$number virtual node(s) such as $example need: $kind"
  done
  wanted=$(printf '%s\n' "$kinds" | head -n 1 | cut -f 3)
  [ "$(printf '%s\n' "$kinds" | wc -l)" -eq 1 ] ||
    say "virtualNode is for the first kind; to run pods on the others, add them to virtualNodes"
  has=$(kubectl -n "$namespace" get configmap "$name" --ignore-not-found \
    -o 'jsonpath={.metadata.name} {.data.virtualNode}')
  if [ -z "$has" ]; then
    if fits_default "$wanted"; then
      say "the default virtualNode matches the virtual nodes"
    else
      say "virtualNode in the new profile is set to this"
      mkdir "$directory/virtual-node"
      cat >"$directory/virtual-node/kustomization.yaml" <<END
apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
patches:
- target: {kind: ConfigMap, name: "^$name\$", namespace: "^$namespace\$"}
  patch: |
    - op: add
      path: /data/virtualNode
      value: '$wanted'
END
    fi
    return
  fi
  has=${has#* }
  if [ "$has" = "$wanted" ] || { [ -z "$has" ] && fits_default "$wanted"; }; then
    say "virtualNode in the profile matches the virtual nodes"
  elif [ -n "$has" ]; then
    say "compare this with virtualNode in the profile, which is not changed:"
    printf '%s\n' "$has"
  else
    escaped=$(printf '%s\n' "$wanted" | sed 's/"/\\"/g')
    say "the profile has no virtualNode, and the default does not match the virtual nodes; set it with:"
    echo "kubectl -n $namespace patch configmap $name --type merge -p '{\"data\":{\"virtualNode\":\"$escaped\"}}'"
  fi
}

# A line for each: its kind and name; of a namespace the label with its name, too, and of a
# registration the Services of its webhooks.
look_at_objects() {
  kubectl -n kube-system get \
    namespaces,mutatingwebhookconfigurations,validatingwebhookconfigurations,deployments \
    -o 'go-template={{range .items}}{{.kind}} {{.metadata.name}}{{with .metadata.labels}}{{with index . "kubernetes.io/metadata.name"}} {{.}}{{end}}{{end}}{{range .webhooks}}{{with .clientConfig.service}} {{.namespace}}/{{.name}}{{end}}{{end}}{{"\n"}}{{end}}' \
    >"$directory/found"
  grep -q "^Namespace $namespace\( \|$\)" "$directory/found" ||
    fail "PROFILE_NAMESPACE: there is no namespace $namespace; create it first"
}

# The registrations of others that read kube-system/eci-profile, by name or by their Service, and
# the Deployment that writes one.
others() {
  awk '
    $1 == "Deployment" && $2 == "alicloud-eci-profile" { print "Deployment kube-system/" $2 }
    $1 == "MutatingWebhookConfiguration" {
      other = $2 == "vk-webhook" || $2 == "alicloud-eci-profile"
      for (i = 3; i <= NF; i++) if ($i == "kube-system/eci-profile") other = 1
      if (other) print "MutatingWebhookConfiguration " $2
    }' "$directory/found"
}

look_for_others() {
  found=$(others)
  if [ -z "$found" ]; then
    say "no other component reads the profile kube-system/eci-profile"
    return
  fi
  found=$(printf '%s\n' "$found" | awk '{ printf "%s%s", (NR > 1 ? ", " : ""), $0 }')
  say "Alibaba Cloud's own component is in the cluster: $found"
  if [ "$FORCE" != 1 ]; then
    case "$found, " in *'MutatingWebhookConfiguration eci-profile, '*)
      fail "MutatingWebhookConfiguration eci-profile belongs to another component, and installing would change it. Delete it first (docs/en/install.md#remove-alibaba-clouds-own-component), or set FORCE=1"
      ;;
    esac
  fi
  if [ "$namespace/$name" != kube-system/eci-profile ]; then
    say "it reads kube-system/eci-profile, not $namespace/$name; pods that both profiles match are changed by both"
  elif [ "$FORCE" = 1 ]; then
    say "FORCE=1: installing anyway; both components change the pods that the profile matches"
  else
    fail "$found reads the same profile, so both would change pods. Remove it first (docs/en/install.md#remove-alibaba-clouds-own-component), choose another PROFILE_NAME, or set FORCE=1"
  fi
}

# Without a terminal nobody can answer, so that scripts go on.
confirm() {
  context=$(kubectl config view --minify \
    -o 'jsonpath={.current-context} ({.clusters[0].cluster.server})' 2>/dev/null) ||
    context='none (unknown)' # as in a pod
  say "installing into the cluster of the context $context"
  if [ "$YES" = 1 ] || ! [ -t 0 ]; then return; fi
  printf 'Install into this cluster? [y/N] '
  read -r answer || answer=
  case $answer in
  [Yy] | [Yy][Ee][Ss]) ;;
  *) fail "not installed; nothing was changed" ;;
  esac
}

look_at_version
look_at_objects
look_at_nodes
look_for_others
confirm

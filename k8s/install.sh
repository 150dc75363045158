#!/bin/sh
# Installs eci-profile into kubectl's current cluster, shows what it would install, prints it as one
# file for `kubectl apply -f`, or removes it. Each can be run again. docs/en/install.md explains the
# variables.
#   HOST=... CERTS=... IMAGE=... [URL=...] [COMPONENTS="..."] [PROFILE_NAME=...]
#     [PROFILE_NAMESPACE=...] [FORCE=1] [YES=1] install.sh install|render|manifest|uninstall
set -eu
here=$(cd "$(dirname "$0")" && pwd)
HOST=${HOST:-deployment} CERTS=${CERTS:-self-renewing} IMAGE=${IMAGE:-} URL=${URL:-}
COMPONENTS=${COMPONENTS:-} CA_BUNDLE=${CA_BUNDLE:-}
PROFILE_NAME=${PROFILE_NAME:-eci-profile} PROFILE_NAMESPACE=${PROFILE_NAMESPACE:-kube-system}
URL=${URL%/}
registration='app.kubernetes.io/component=registration'
by_job='' # not empty: a Job in the cluster creates the profile and the registrations

say() { echo "==> $*"; }
fail() {
  echo "install.sh: $*" >&2
  exit 1
}

# is_name LENGTH PATTERN TEXT: whether it is one line of the pattern, and not longer.
is_name() {
  [ "${#3}" -le "$1" ] && [ "$(printf '%s\n' "$3" | wc -l)" -eq 1 ] &&
    printf '%s\n' "$3" | LC_ALL=C grep -Eqx "$2"
}

check_profile() {
  label='[a-z0-9]([-a-z0-9]*[a-z0-9])?'
  is_name 253 "$label(\\.$label)*" "$PROFILE_NAME" ||
    fail "PROFILE_NAME must be the name of a ConfigMap (at most 253 of a-z, 0-9, - and .), not '$PROFILE_NAME'"
  is_name 63 "$label" "$PROFILE_NAMESPACE" ||
    fail "PROFILE_NAMESPACE must be the name of a namespace (at most 63 of a-z, 0-9 and -), not '$PROFILE_NAMESPACE'"
  # Without this, `uninstall` would remove the profile with its namespace.
  [ "$PROFILE_NAMESPACE" != eci-profile ] ||
    fail "PROFILE_NAMESPACE can't be eci-profile, which uninstall deletes; choose another namespace"
}

check() {
  check_profile
  case $HOST in
  deployment | knative | openfaas) [ -n "$IMAGE" ] || fail "IMAGE must be the name of the image that you have built and pushed" ;;
  external) [ -n "$URL" ] || fail "HOST=external requires URL=https://..., the URL of the function" ;;
  *) fail "HOST must be deployment, knative, openfaas or external, not '$HOST'" ;;
  esac
  case $CERTS in
  self-renewing | self-signed | cert-manager) ;;
  *) fail "CERTS must be self-renewing, self-signed or cert-manager, not '$CERTS'" ;;
  esac
  case $URL in
  '' | https://?*) ;;
  *) fail "URL must begin with https://, not '$URL', because kube-apiserver supports only HTTPS" ;;
  esac
  [ -z "$URL" ] || [ "$HOST" != deployment ] ||
    fail "HOST=deployment serves TLS itself; remove URL"
  case $IMAGE$URL in
  *[\ \|\&\\]*) fail "IMAGE and URL can't contain spaces or any of | & \\" ;;
  esac
  for component in $COMPONENTS; do
    [ -d "$here/components/$component" ] || fail "COMPONENTS: k8s/components has no $component"
  done
}

check_manifest() {
  [ -n "$IMAGE" ] || fail "IMAGE must be the name of the image, because a Job with it finishes the installation"
}

chosen() {
  for each in $COMPONENTS; do [ "$each" != "$1" ] || return 0; done
  return 1
}

renamed() { [ "$PROFILE_NAMESPACE/$PROFILE_NAME" != kube-system/eci-profile ]; }

# What the function has to be told, apart from what its host's folder says.
settings() {
  ! renamed ||
    echo "ECI_PROFILE_NAMESPACE=$PROFILE_NAMESPACE ECI_PROFILE_NAME=$PROFILE_NAME"
  ! chosen effects-at-binding || echo "ECI_PROFILE_BINDING=1"
  ! chosen narrow-registration || echo "ECI_PROFILE_REGISTRATION=eci-profile"
}

# A component that puts another name and namespace of the profile wherever they are written.
name_profile() {
  mkdir "$work/profile"
  # Another ConfigMap, not a renamed one: kustomize would also rename what the rights of
  # narrow-registration name, which is called the same.
  sed -e "s|^  name: eci-profile\$|  name: \"$PROFILE_NAME\"|" \
    -e "s|^  namespace: kube-system\$|  namespace: \"$PROFILE_NAMESPACE\"|" \
    "$here/base/config-map.yaml" >"$work/profile/config-map.yaml"
  cat >"$work/profile/kustomization.yaml" <<END
apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
resources: [config-map.yaml]
labels:
- pairs: {app.kubernetes.io/part-of: eci-profile} # as all else has it
patches:
- target: {kind: ConfigMap, name: ^eci-profile$, namespace: ^kube-system$}
  patch: |
    \$patch: delete
    apiVersion: v1
    kind: ConfigMap
    metadata: {name: eci-profile, namespace: kube-system}
- target: {kind: Role|RoleBinding, name: eci-profile}
  patch: &namespace |
    - {op: replace, path: /metadata/namespace, value: "$PROFILE_NAMESPACE"}
- target: {kind: Role|RoleBinding, name: eci-profile-default}
  patch: *namespace
- target: {kind: Role, name: eci-profile}
  patch: |
    - {op: replace, path: /rules/0/resourceNames, value: ["$PROFILE_NAME"]}
- target: {kind: ValidatingWebhookConfiguration}
  patch: |
    - op: replace
      path: /webhooks/0/namespaceSelector/matchLabels/kubernetes.io~1metadata.name
      value: "$PROFILE_NAMESPACE"
    - op: replace
      path: /webhooks/0/matchConditions/0/expression
      value: has(request.name) && request.name == "$PROFILE_NAME"
- target: {kind: Deployment, name: eci-profile}
  patch: &env |
    - op: add
      path: /spec/template/spec/containers/0/env/-
      value: {name: ECI_PROFILE_NAMESPACE, value: "$PROFILE_NAMESPACE"}
    - op: add
      path: /spec/template/spec/containers/0/env/-
      value: {name: ECI_PROFILE_NAME, value: "$PROFILE_NAME"}
- target: {group: serving.knative.dev, kind: Service}
  patch: *env
- target: {kind: Function}
  patch: |
    - {op: add, path: /spec/environment/ECI_PROFILE_NAMESPACE, value: "$PROFILE_NAMESPACE"}
    - {op: add, path: /spec/environment/ECI_PROFILE_NAME, value: "$PROFILE_NAME"}
END
}

# With URL, whoever serves it provides the certificate.
own_certificate() { [ -z "$URL" ]; }

render() {
  root=$HOST
  ! renamed || name_profile
  own_certificate || [ "$HOST" = external ] || root=$HOST/function
  {
    echo "resources: [../$root]"
    echo "components:"
    # First what those for older clusters and virtual nodes change.
    [ -z "$by_job" ] || echo "- ../install-job"
    ! own_certificate || echo "- ../certs/$CERTS"
    ! renamed || echo "- profile"
    [ ! -d "$work/virtual-node" ] || echo "- virtual-node" # by preflight.sh
    for component in $COMPONENTS; do echo "- ../components/$component"; done
    if ! own_certificate && [ "$HOST" != external ]; then
      echo "- ../components/url"
    fi
    if ! own_certificate && chosen effects-at-binding; then echo "- ../components/url-at-binding"; fi
    if own_certificate && [ -n "$CA_BUNDLE" ]; then
      echo "patches:"
      echo "- target: {group: admissionregistration.k8s.io}"
      echo "  patch: |"
      echo "    - {op: add, path: /webhooks/0/clientConfig/caBundle, value: $CA_BUNDLE}"
      if chosen effects-at-binding; then
        echo "- target: {kind: MutatingWebhookConfiguration}"
        echo "  patch: |"
        echo "    - {op: add, path: /webhooks/1/clientConfig/caBundle, value: $CA_BUNDLE}"
      fi
    fi
  } >"$work/kustomization.yaml"
  kubectl kustomize "$work" >"$work/built.yaml"
  sed -e "s|image: eci-profile\$|image: $IMAGE|" -e "s|https://eci-profile.example.com|$URL|" \
    "$work/built.yaml"
}

# split FILE: writes its documents to registration.yaml, profile.yaml, job.yaml and rest.yaml.
split() {
  awk -v to="$work/" '
    function put() {
      if (text != "") printf "---\n%s", text >>(to file)
      text = ""
      file = "rest.yaml"
    }
    BEGIN { put() }
    /^---$/ { put(); next }
    /^kind: (Mutating|Validating)WebhookConfiguration$/ { file = "registration.yaml" }
    $0 == "    app.kubernetes.io/component: profile" { file = "profile.yaml" }
    /^kind: Job$/ { file = "job.yaml" }
    { text = text $0 "\n" }
    END { put() }' "$1"
}

# One file, which kubectl can apply again and again. What must not be replaced, and what must wait
# for the function, is in a ConfigMap, from which a Job creates it: the default profile, and the
# webhooks of the registrations, which the file itself creates without any.
manifest() {
  by_job=1
  render >"$work/rendered.yaml"
  split "$work/rendered.yaml"
  checksum=$(cksum <"$work/rendered.yaml")
  # The registrations first, so that kubectl delete -f begins with them.
  awk '/^(---|[a-z])/ { left_out = /^webhooks:/ } !left_out' "$work/registration.yaml"
  cat "$work/rest.yaml" - <<END
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: eci-profile-install
  namespace: eci-profile
  labels:
    app.kubernetes.io/part-of: eci-profile
data:
END
  for file in profile.yaml registration.yaml; do
    echo "  $file: |"
    sed 's/^/    /' "$work/$file"
  done
  sed "s/^  name: eci-profile-install\$/&-${checksum%% *}/" "$work/job.yaml"
}

install() {
  say "HOST=$HOST CERTS=$CERTS IMAGE=$IMAGE URL=$URL COMPONENTS=$COMPONENTS"
  say "PROFILE_NAME=$PROFILE_NAME PROFILE_NAMESPACE=$PROFILE_NAMESPACE"
  # Before anything is written.
  PROFILE_NAME=$PROFILE_NAME PROFILE_NAMESPACE=$PROFILE_NAMESPACE COMPONENTS=$COMPONENTS \
    "$here/preflight.sh" "$work"
  ! chosen effects-at-binding ||
    say "effects at binding: Kubernetes before 1.35 adds their annotations, but not their labels"
  # The registration selects by this label, which Kubernetes sets since 1.21.
  while read -r kind namespace label; do
    case $kind/$namespace in
    Namespace/kube-system | "Namespace/$PROFILE_NAMESPACE")
      [ "$label" = "$namespace" ] ||
        kubectl label --overwrite namespace "$namespace" "kubernetes.io/metadata.name=$namespace"
      ;;
    esac
  done <"$work/found"
  if own_certificate && [ "$CERTS" = self-renewing ]; then
    install_by_job
  else
    install_by_kubectl
  fi
  say "done; edit the profile with: kubectl -n $PROFILE_NAMESPACE edit configmap $PROFILE_NAME"
}

# Whether preflight.sh has found an earlier installation, or a part of one.
installed_before() {
  grep -Eq '^(Namespace|(Mutating|Validating)WebhookConfiguration) eci-profile( |$)' "$work/found"
}

install_by_job() {
  manifest >"$work/manifests.yaml"
  job=eci-profile-install-${checksum%% *}
  # `kubectl apply` removes what it has written before and doesn't find any more. So it must not
  # remember the webhooks of an installation without a Job, or they would be gone until the Job is.
  # And a Job that has finished would not do it again.
  if installed_before; then
    kubectl -n eci-profile get mutatingwebhookconfiguration/eci-profile \
      validatingwebhookconfiguration/eci-profile "job/$job" --ignore-not-found --no-headers \
      -o 'custom-columns=KIND:.kind,LAST:.metadata.annotations.kubectl\.kubernetes\.io/last-applied-configuration' \
      >"$work/before"
    while read -r kind last; do
      case "$kind $last" in
      'Job '*) kubectl -n eci-profile delete --ignore-not-found job "$job" ;;
      *'"webhooks":'*)
        kubectl annotate "$kind" eci-profile kubectl.kubernetes.io/last-applied-configuration-
        ;;
      esac
    done <"$work/before"
  fi
  say "applying $HOST"
  apply_manifests profile
  say "waiting for the Job $job to create the certificate, the profile if there is none, and the registration"
  kubectl -n eci-profile wait --for=condition=complete --timeout=300s "job/$job" || {
    kubectl -n eci-profile get pods,events >&2
    fail "the Job $job did not complete: see above, and kubectl -n eci-profile logs job/$job"
  }
  # The Job is content with the replicas of before; here the new ones must come up.
  wait_until_ready
}

wait_until_ready() {
  say "waiting until the function is ready"
  if [ "$HOST" = deployment ]; then
    kubectl -n eci-profile rollout status deployment/eci-profile --timeout=180s
  elif own_certificate; then
    kubectl -n eci-profile rollout status deployment/eci-profile-front --timeout=180s
  fi
  [ "$HOST" != knative ] ||
    kubectl -n eci-profile wait --for=condition=Ready --timeout=180s services.serving.knative.dev/eci-profile-function
}

apply_manifests() {
  without=''
  if [ "$HOST" = openfaas ] && ! kubectl get crd functions.openfaas.com -o name >/dev/null 2>&1; then
    without=', function'
    command="IMAGE=$IMAGE faas-cli deploy -f k8s/openfaas/stack.yaml"
    for setting in $(settings); do command="$command --env $setting"; done
    say "there is no OpenFaaS operator in the cluster, so now run:  $command"
  fi
  kubectl apply -l "app.kubernetes.io/component notin ($1$without)" -f "$work/manifests.yaml"
}

certificate_and_ca() {
  kubectl -n eci-profile get secret eci-profile-tls --ignore-not-found \
    -o 'jsonpath={.data.tls\.crt} {.data.ca\.crt}'
}

install_by_kubectl() {
  # It would renew the certificate of somebody else.
  ! installed_before ||
    kubectl -n eci-profile delete --ignore-not-found cronjob eci-profile-certificates
  if own_certificate && [ "$CERTS" = self-signed ]; then
    certificate=$(certificate_and_ca)
    if [ -n "${certificate% *}" ]; then
      say "the existing certificate is not changed; to replace it, run make renew-certificate"
    else
      say "creating a CA and a certificate"
      kubectl apply -f "$here/base/namespace.yaml"
      "$here/certs/self-signed/renew.sh"
      certificate=$(certificate_and_ca)
    fi
    CA_BUNDLE=${certificate#* }
  fi
  render >"$work/manifests.yaml"
  left_out=registration
  if kubectl -n "$PROFILE_NAMESPACE" get configmap "$PROFILE_NAME" -o name >/dev/null 2>&1; then
    say "the existing profile, ConfigMap $PROFILE_NAMESPACE/$PROFILE_NAME, is not changed"
    left_out='registration, profile'
  else
    say "creating the default profile"
  fi
  if [ "$HOST" = external ] && [ -n "$(settings)" ]; then
    say "set these environment variables where the function runs: $(settings | tr '\n' ' ')"
  fi
  say "applying $HOST"
  apply_manifests "$left_out"
  wait_until_ready
  # Last, so that no pod waits for a function that isn't there yet.
  say "registering the function with kube-apiserver"
  kubectl apply -l "$registration" -f "$work/manifests.yaml"
  installed_before || return 0
  # Or a Job of before would take the webhooks for those that it wrote.
  webhooks=$(kubectl annotate mutatingwebhookconfiguration,validatingwebhookconfiguration eci-profile \
    eci-profile/manifest- -o 'go-template={{range .webhooks}}{{.name}} {{end}}')
  chosen narrow-registration || remove_narrow_webhooks
}

# The wide webhook is open again; those that the function added would now call it once more.
remove_narrow_webhooks() {
  patch=
  for webhook in $webhooks; do
    case $webhook in
    *.mutate.eci-profile.svc) patch="$patch,{\"\$patch\":\"delete\",\"name\":\"$webhook\"}" ;;
    esac
  done
  [ -z "$patch" ] ||
    kubectl patch mutatingwebhookconfiguration eci-profile -p "{\"webhooks\":[${patch#,}]}"
}

uninstall() {
  say "uninstalling from the cluster of the context $(kubectl config current-context)"
  # First, so that no pod waits for a function that is gone.
  say "removing the registration"
  kubectl delete --ignore-not-found mutatingwebhookconfiguration,validatingwebhookconfiguration eci-profile
  say "removing the function and its permissions"
  crd=$(kubectl get crd functions.openfaas.com -o name 2>/dev/null) || :
  kubectl -n openfaas-fn delete --ignore-not-found ${crd:+functions.openfaas.com/eci-profile} \
    serviceaccount/eci-profile
  kubectl -n "$PROFILE_NAMESPACE" delete --ignore-not-found \
    role/eci-profile role/eci-profile-default rolebinding/eci-profile rolebinding/eci-profile-default \
    clusterrole/eci-profile clusterrole/eci-profile-certificates clusterrole/eci-profile-install \
    clusterrolebinding/eci-profile clusterrolebinding/eci-profile-certificates \
    clusterrolebinding/eci-profile-install namespace/eci-profile
  say "the profile is not removed; to remove it: kubectl -n $PROFILE_NAMESPACE delete configmap $PROFILE_NAME"
}

# kustomize accepts relative paths to folders only, so it gets a copy of them.
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
trap 'exit 130' INT TERM
cp -R "$here"/. "$copy"
work=$copy/install
mkdir "$work"

case ${1:-} in
install) check && install ;;
render) check && render ;;
manifest) check && check_manifest && manifest ;;
uninstall) check_profile && uninstall ;;
*) fail "usage: install.sh install|render|manifest|uninstall" ;;
esac

#!/bin/sh
# Installs eci-profile into kubectl's current cluster, shows what it would install, or removes it.
# Each can be run again. docs/en/install.md explains the variables.
#   HOST=... CERTS=... IMAGE=... [URL=...] [COMPONENTS="..."] install.sh install|render|uninstall
set -eu
here=$(cd "$(dirname "$0")" && pwd)
HOST=${HOST:-deployment} CERTS=${CERTS:-self-signed} IMAGE=${IMAGE:-} URL=${URL:-}
COMPONENTS=${COMPONENTS:-} CA_BUNDLE=${CA_BUNDLE:-}
URL=${URL%/}
profile='app.kubernetes.io/component=profile'
registration='app.kubernetes.io/component=registration'

say() { echo "==> $*"; }
fail() {
  echo "install.sh: $*" >&2
  exit 1
}

check() {
  case $HOST in
  deployment | knative | openfaas) [ -n "$IMAGE" ] || fail "IMAGE must name the image that you have built and pushed" ;;
  external) [ -n "$URL" ] || fail "HOST=external needs URL=https://... of the function" ;;
  *) fail "HOST must be deployment, knative, openfaas or external, not '$HOST'" ;;
  esac
  case $CERTS in
  self-signed | cert-manager) ;;
  *) fail "CERTS must be self-signed or cert-manager, not '$CERTS'" ;;
  esac
  case $URL in
  '' | https://?*) ;;
  *) fail "URL must begin with https://, not '$URL': kube-apiserver calls nothing else" ;;
  esac
  [ -z "$URL" ] || [ "$HOST" != deployment ] ||
    fail "HOST=deployment serves TLS itself; leave URL out"
  case $IMAGE$URL in
  *[\ \|\&\\]*) fail "IMAGE and URL can't have blanks, nor any of | & \\" ;;
  esac
  for component in $COMPONENTS; do
    [ -d "$here/components/$component" ] || fail "COMPONENTS: there is no $component in k8s/components"
  done
}

# With URL, whoever serves it provides the certificate.
own_certificate() { [ -z "$URL" ]; }

render() {
  root=$HOST
  own_certificate || [ "$HOST" = external ] || root=$HOST/function
  {
    echo "resources: [../$root]"
    echo "components:"
    for component in $COMPONENTS; do echo "- ../components/$component"; done
    if own_certificate; then
      [ "$CERTS" != cert-manager ] || echo "- ../certs/cert-manager"
    elif [ "$HOST" != external ]; then
      echo "- ../components/url"
    fi
    if own_certificate && [ -n "$CA_BUNDLE" ]; then
      echo "patches:"
      echo "- target: {group: admissionregistration.k8s.io}"
      echo "  patch: |"
      echo "    - {op: add, path: /webhooks/0/clientConfig/caBundle, value: $CA_BUNDLE}"
    fi
  } >"$work/kustomization.yaml"
  kubectl kustomize "$work" >"$work/built.yaml"
  sed -e "s|image: eci-profile\$|image: $IMAGE|" -e "s|https://eci-profile.example.com|$URL|" \
    "$work/built.yaml"
}

install() {
  say "HOST=$HOST CERTS=$CERTS IMAGE=$IMAGE URL=$URL COMPONENTS=$COMPONENTS"
  say "into $(kubectl config current-context)"
  kubectl apply -f "$here/base/namespace.yaml"
  # The registration excludes by this label, which Kubernetes sets since 1.21.
  kubectl label --overwrite namespace kube-system kubernetes.io/metadata.name=kube-system
  if own_certificate && [ "$CERTS" = self-signed ]; then
    if kubectl -n eci-profile get secret eci-profile-tls -o name >/dev/null 2>&1; then
      say "the certificate stays as it is; make renew-certificate makes another"
    else
      say "making a CA and a certificate"
      "$here/certs/self-signed/renew.sh"
    fi
    CA_BUNDLE=$(kubectl -n eci-profile get secret eci-profile-tls -o 'jsonpath={.data.ca\.crt}')
  fi
  render >"$work/manifests.yaml"
  if kubectl -n kube-system get configmap eci-profile -o name >/dev/null 2>&1; then
    say "the profile, ConfigMap kube-system/eci-profile, stays as it is"
  else
    say "creating the default profile"
    kubectl apply -l "$profile" -f "$work/manifests.yaml"
  fi
  apart='profile, registration'
  if [ "$HOST" = openfaas ] && ! kubectl get crd functions.openfaas.com -o name >/dev/null 2>&1; then
    apart="$apart, function"
    say "OpenFaaS has no operator here: now run  IMAGE=$IMAGE faas-cli deploy -f k8s/openfaas/stack.yaml"
  fi
  say "applying $HOST"
  kubectl apply -l "app.kubernetes.io/component notin ($apart)" -f "$work/manifests.yaml"
  say "waiting until it is ready"
  if [ "$HOST" = deployment ]; then
    kubectl -n eci-profile rollout status deployment/eci-profile --timeout=180s
  elif own_certificate; then
    kubectl -n eci-profile rollout status deployment/eci-profile-front --timeout=180s
  fi
  [ "$HOST" != knative ] ||
    kubectl -n eci-profile wait --for=condition=Ready --timeout=180s services.serving.knative.dev/eci-profile-function
  # Last, so that no pod waits for a function that isn't there yet.
  say "registering it with kube-apiserver"
  kubectl apply -l "$registration" -f "$work/manifests.yaml"
  say "done; edit the profile with: kubectl -n kube-system edit configmap eci-profile"
}

uninstall() {
  say "from $(kubectl config current-context)"
  # First, so that no pod waits for a function that is gone.
  say "removing the registration"
  kubectl delete --ignore-not-found mutatingwebhookconfiguration,validatingwebhookconfiguration eci-profile
  say "removing the function and its rights"
  if kubectl get crd functions.openfaas.com -o name >/dev/null 2>&1; then
    kubectl -n openfaas-fn delete --ignore-not-found functions.openfaas.com/eci-profile
  fi
  kubectl -n openfaas-fn delete --ignore-not-found serviceaccount eci-profile
  kubectl -n kube-system delete --ignore-not-found role,rolebinding eci-profile
  kubectl delete --ignore-not-found clusterrole,clusterrolebinding eci-profile
  kubectl delete --ignore-not-found namespace eci-profile
  say "the profile stays; remove it with: kubectl -n kube-system delete configmap eci-profile"
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
uninstall) uninstall ;;
*) fail "say install, render or uninstall" ;;
esac

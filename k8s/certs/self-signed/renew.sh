#!/bin/sh
# Creates the certificate that kube-apiserver sees, and its CA if there is none that lasts longer.
# Both go into Secrets, the CA also into the registration. Run it again to renew.
#   renew.sh [DAYS]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
umask 077
namespace=eci-profile

has() { kubectl -n "$namespace" get secret "$1" -o name >/dev/null 2>&1; }
# Not `kubectl apply`, which would keep the key in an annotation as well.
put() {
  verb=create type=kubernetes.io/tls
  if has "$1"; then
    # Of one that CERTS=self-renewing has created, the type is another, and it can't be changed.
    verb=replace type=$(kubectl -n "$namespace" get secret "$1" -o 'jsonpath={.type}')
  fi
  kubectl -n "$namespace" create secret generic "$@" --type="$type" \
    --dry-run=client -o yaml | kubectl "$verb" -f -
}

if has eci-profile-ca; then
  kubectl -n "$namespace" get secret eci-profile-ca -o 'jsonpath={.data.tls\.crt}' |
    base64 -d >"$work/ca.crt"
  kubectl -n "$namespace" get secret eci-profile-ca -o 'jsonpath={.data.tls\.key}' |
    base64 -d >"$work/ca.key"
fi
"$here/make.sh" "$work" "${1:-365}"
put eci-profile-ca --from-file=tls.crt="$work/ca.crt" --from-file=tls.key="$work/ca.key"

# The registration trusts a new CA before the pods show its certificate.
bundle=$(base64 <"$work/bundle.crt" | tr -d '\n')
for kind in mutatingwebhookconfiguration validatingwebhookconfiguration; do
  patch='' index=0
  for _ in $(kubectl get "$kind" eci-profile --ignore-not-found \
    -o 'jsonpath={range .webhooks[*]}{.name}{" "}{end}'); do
    patch="$patch,{\"op\":\"add\",\"path\":\"/webhooks/$index/clientConfig/caBundle\",\"value\":\"$bundle\"}"
    index=$((index + 1))
  done
  [ -z "$patch" ] || kubectl patch "$kind" eci-profile --type=json -p "[${patch#,}]"
done
put eci-profile-tls --from-file=tls.crt="$work/tls.crt" --from-file=tls.key="$work/tls.key" \
  --from-file=ca.crt="$work/bundle.crt"
echo "valid until $(openssl x509 -in "$work/tls.crt" -noout -enddate | cut -d= -f2); the pods use it within two minutes"

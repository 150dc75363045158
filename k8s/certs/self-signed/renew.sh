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

encoded() { base64 | tr -d '\n'; }

# put NAME KEY=FILE...: writes files of $work into a Secret. Not by `kubectl apply`, which would keep
# the key in an annotation as well.
put() {
  # Of one that CERTS=self-renewing has created, the type is another, and it can't be changed.
  type=$(awk -v name="$1" '$1 == "Secret" && $2 == name { print $3 }' "$work/found")
  verb=replace
  [ -n "$type" ] || verb=create type=kubernetes.io/tls
  {
    printf 'apiVersion: v1\nkind: Secret\nmetadata: {name: %s, namespace: %s}\n' "$1" "$namespace"
    printf 'type: %s\ndata:\n' "$type"
    shift
    for file in "$@"; do printf '  %s: %s\n' "${file%%=*}" "$(encoded <"$work/${file#*=}")"; done
  } | kubectl "$verb" -f -
}

# What there is; the names of webhooks are separated by commas, and what is missing is <none>.
kubectl -n "$namespace" get secret/eci-profile-ca secret/eci-profile-tls \
  mutatingwebhookconfiguration/eci-profile validatingwebhookconfiguration/eci-profile \
  --ignore-not-found --no-headers \
  -o 'custom-columns=KIND:.kind,NAME:.metadata.name,TYPE:.type,CRT:.data.tls\.crt,KEY:.data.tls\.key,WEBHOOKS:.webhooks[*].name' \
  >"$work/found"
ca=$(awk '$2 == "eci-profile-ca" && $4 != "<none>" { print $4, $5 }' "$work/found")
if [ -n "$ca" ]; then
  printf '%s' "${ca% *}" | base64 -d >"$work/ca.crt"
  printf '%s' "${ca#* }" | base64 -d >"$work/ca.key"
fi
"$here/make.sh" "$work" "${1:-365}"
put eci-profile-ca tls.crt=ca.crt tls.key=ca.key

# The registration trusts a new CA before the pods show its certificate.
bundle=$(encoded <"$work/bundle.crt")
while read -r kind _ _ _ _ webhooks; do
  [ "$webhooks" != '<none>' ] || continue # a Secret, or a registration that has none
  patch='' index=0
  for _ in $(echo "$webhooks" | tr , ' '); do
    patch="$patch,{\"op\":\"add\",\"path\":\"/webhooks/$index/clientConfig/caBundle\",\"value\":\"$bundle\"}"
    index=$((index + 1))
  done
  kubectl patch "$kind" eci-profile --type=json -p "[${patch#,}]"
done <"$work/found"
put eci-profile-tls tls.crt=tls.crt tls.key=tls.key ca.crt=bundle.crt
echo "valid until $(openssl x509 -in "$work/tls.crt" -noout -enddate | cut -d= -f2); the pods use it within two minutes"

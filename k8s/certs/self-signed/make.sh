#!/bin/sh
# Creates tls.crt and tls.key in a directory, signed by the ca.crt and ca.key there, which it creates
# too if they are absent or expire before the certificate. bundle.crt is what clients have to trust.
#   make.sh DIRECTORY [DAYS [DNS_NAME]]
set -eu
cd "$1"
days=${2:-365}
name=${3:-eci-profile.eci-profile.svc}
umask 077

key() { openssl ecparam -genkey -name prime256v1 -noout -out "$1"; }

if ! openssl x509 -in ca.crt -noout -checkend "$((days * 86400))" >/dev/null 2>&1; then
  [ ! -f ca.crt ] || mv ca.crt old.crt
  key ca.key
  cat >ca.cnf <<END
[req]
prompt = no
distinguished_name = subject
x509_extensions = extensions
[subject]
CN = eci-profile CA $(date -u +%Y-%m-%dT%H:%M:%SZ)
[extensions]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
END
  openssl req -x509 -new -sha256 -key ca.key -config ca.cnf -days "$((days * 10))" -out ca.crt
fi
# The old CA stays trusted until the pods have the new certificate.
cat ca.crt >bundle.crt
[ ! -f old.crt ] || cat old.crt >>bundle.crt

key tls.key
cat >tls.cnf <<END
[req]
prompt = no
distinguished_name = subject
[subject]
CN = $name
[extensions]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:$name
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
END
openssl req -new -sha256 -key tls.key -config tls.cnf -out tls.csr
openssl x509 -req -sha256 -in tls.csr -CA ca.crt -CAkey ca.key -set_serial "0x$(openssl rand -hex 16)" \
  -days "$days" -extfile tls.cnf -extensions extensions -out tls.crt 2>/dev/null
rm -f ca.cnf tls.cnf tls.csr old.crt

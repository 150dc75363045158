#!/bin/sh
# Runs nginx, and reloads it when the certificate in TLS_DIR changes: the kubelet updates a mounted
# Secret without a signal.
set -eu
: "${TLS_DIR:=/tls}" "${NGINX_CONF:=/etc/nginx/front/nginx.conf}" "${INTERVAL:=10}"

state() { cat "$TLS_DIR/tls.crt" "$TLS_DIR/tls.key" | cksum; }

watch() {
  loaded=$1
  while sleep "$INTERVAL" && kill -0 $$; do
    found=$(state) || continue
    [ "$found" = "$loaded" ] && continue
    # In the middle of a change, the certificate may not fit the key: try again.
    if nginx -q -t -c "$NGINX_CONF" && nginx -q -s reload -c "$NGINX_CONF"; then
      loaded=$found
      echo "the certificate was reloaded" >&2
    fi
  done
}

watch "$(state)" &
exec nginx -c "$NGINX_CONF" -g 'daemon off;'

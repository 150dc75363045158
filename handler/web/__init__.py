"""HTTP: method, path and body in; status, headers and body out."""

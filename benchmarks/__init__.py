"""regroute beside nginx, HAProxy, Caddy and Envoy, on one machine, in one run."""

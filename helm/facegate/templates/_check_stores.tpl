{{/* Where counts and answers are kept, and whether the network lets the gateway there. Parts of `facegate.check`. */}}
{{- define "facegate.check.stores" -}}
{{- $v := .Values -}}
{{- range $name, $store := dict "quota" $v.stores.quota "cache" $v.stores.cache }}
{{- if and (index $v.valkey $name).enabled (or (ne $store.url "memory://") $store.passwordSecret.name) }}
stores.{{ $name }}: is given beside valkey.{{ $name }}.enabled: remove one of them
{{- else if and $store.passwordSecret.name (eq $store.url "memory://") }}
stores.{{ $name }}.passwordSecret: memory has no password: set stores.{{ $name }}.url
{{- end }}
{{- end }}
{{- if and (ne (include "facegate.cacheStore" .) "memory://") (not $v.stores.sealingKey.secretName) }}
stores.sealingKey.secretName: is required when the cache is not in memory: kubectl create secret generic NAME --from-file=key=FILE, where FILE holds 32 random bytes
{{- end }}
{{- $cache := default dict $v.config.cache }}
{{- if gt (float64 (default 0 $cache.no_match_ttl_seconds)) (float64 (default 300 $cache.ttl_seconds)) }}
config.cache.no_match_ttl_seconds: is above ttl_seconds: lower it
{{- end }}
{{- if and $v.stores.ca.configMapName (not (or (hasPrefix "valkeys://" $v.stores.quota.url) (hasPrefix "valkeys://" $v.stores.cache.url))) }}
stores.ca: no store is reached by TLS: name one as valkeys://…
{{- end }}
{{- end -}}

{{/* A NetworkPolicy that shuts out what the other values need. Extra rules may let it through in a way of their own. */}}
{{- define "facegate.check.network" -}}
{{- $v := .Values -}}
{{- if and $v.networkPolicy.enabled (not $v.networkPolicy.extraEgress) }}
{{- range $name, $store := dict "quota" $v.stores.quota "cache" $v.stores.cache }}
{{- if and (ne $store.url "memory://") (not $v.networkPolicy.stores) }}
networkPolicy.stores: is empty, and shuts the gateway out of stores.{{ $name }}.url: name the stores' peers
{{- end }}
{{- end }}
{{- if and (default dict $v.config.telemetry).otlp_endpoint (not $v.networkPolicy.collector) }}
networkPolicy.collector: is empty, and shuts the gateway out of config.telemetry.otlp_endpoint: name the collector's peers
{{- end }}
{{- if and (not $v.sandbox.enabled) (not $v.networkPolicy.vendor) }}
networkPolicy.vendor: is empty, and shuts the gateway out of the vendor: name its addresses, or the proxy's
{{- end }}
{{- end }}
{{- end -}}

{{/*
What the schema cannot say: values that do not go together. Every problem is a line of one message, with the remedy.
*/}}
{{- define "facegate.check" -}}
{{- $v := .Values -}}
{{- $tls := include "facegate.tlsSecret" . -}}
{{- $issuers := list -}}
{{- range (default dict $v.config.auth).jwt_issuers -}}{{- $issuers = append $issuers .issuer -}}{{- end -}}
{{- $problems := list -}}
{{- if $v.sandbox.enabled -}}
{{-   if $v.credentials -}}
{{-     $problems = append $problems "credentials: are given, but searches go to the sandbox: set sandbox.enabled=false" -}}
{{-   end -}}
{{-   if (default dict $v.config.upstream).base_url -}}
{{-     $problems = append $problems "config.upstream.base_url: is given, but searches go to the sandbox: set sandbox.enabled=false" -}}
{{-   end -}}
{{- else -}}
{{-   if not $v.credentials -}}
{{-     $problems = append $problems "credentials: is empty: name a Secret with the vendor's API id and secret, or set sandbox.enabled=true" -}}
{{-   end -}}
{{-   if not $v.tenants -}}
{{-     $problems = append $problems "tenants: is empty: every call would be refused; name at least one tenant" -}}
{{-   end -}}
{{-   if not (or $tls $v.tls.insecure) -}}
{{-     $problems = append $problems "tls: tokens and face images would cross the network in plaintext: set tls.secretName or certificate.enabled=true, or tls.insecure=true where a mesh encrypts" -}}
{{-   end -}}
{{- end -}}
{{- if and $tls $v.tls.insecure -}}
{{-   $problems = append $problems "tls.insecure: is true beside a certificate: remove one of them" -}}
{{- end -}}
{{- if and $v.tls.clientCa.configMapName (not $tls) -}}
{{-   $problems = append $problems "tls.clientCa: needs TLS: set tls.secretName or certificate.enabled=true" -}}
{{- end -}}
{{- if and $v.certificate.enabled (not $v.certificate.issuerRef.name) -}}
{{-   $problems = append $problems "certificate.issuerRef.name: is required with certificate.enabled" -}}
{{- end -}}
{{- if and (gt (include "facegate.replicas" . | int) 1) (eq (include "facegate.quotaStore" .) "memory://") -}}
{{-   $problems = append $problems (printf "stores.quota.url: %s gateways with a store of their own each would admit %s times every limit: name a shared store, or valkey.quota.enabled=true for a trial" (include "facegate.replicas" .) (include "facegate.replicas" .)) -}}
{{- end -}}
{{- range $name, $store := dict "quota" $v.stores.quota "cache" $v.stores.cache -}}
{{-   if and (index $v.valkey $name).enabled (or (ne $store.url "memory://") $store.passwordSecret.name) -}}
{{-     $problems = append $problems (printf "stores.%s: is given beside valkey.%s.enabled: remove one of them" $name $name) -}}
{{-   end -}}
{{-   if and $store.passwordSecret.name (eq $store.url "memory://") -}}
{{-     $problems = append $problems (printf "stores.%s.passwordSecret: memory has no password: set stores.%s.url" $name $name) -}}
{{-   end -}}
{{- end -}}
{{- if and (ne (include "facegate.cacheStore" .) "memory://") (not $v.stores.sealingKey.secretName) -}}
{{-   $problems = append $problems "stores.sealingKey.secretName: is required when the cache is not in memory: kubectl create secret generic NAME --from-file=key=FILE, where FILE holds 32 random bytes" -}}
{{- end -}}
{{- if and $v.autoscaling.enabled (gt (int $v.autoscaling.minReplicas) (int $v.autoscaling.maxReplicas)) -}}
{{-   $problems = append $problems "autoscaling.minReplicas: is above autoscaling.maxReplicas" -}}
{{- end -}}
{{- if and $v.autoscaling.enabled (not $v.autoscaling.cpuUtilization) (not $v.autoscaling.callsInFlight) -}}
{{-   $problems = append $problems "autoscaling: has no measure: set cpuUtilization or callsInFlight" -}}
{{- end -}}
{{- if and $v.grpcRoute.enabled (not $v.grpcRoute.parentRefs) -}}
{{-   $problems = append $problems "grpcRoute.parentRefs: is required with grpcRoute.enabled: name a Gateway" -}}
{{- end -}}
{{- if $v.externalSecrets.enabled -}}
{{-   if not $v.externalSecrets.storeRef.name -}}
{{-     $problems = append $problems "externalSecrets.storeRef.name: is required with externalSecrets.enabled" -}}
{{-   end -}}
{{-   if not $v.externalSecrets.secrets -}}
{{-     $problems = append $problems "externalSecrets.secrets: is empty: name a Secret to make" -}}
{{-   end -}}
{{- end -}}
{{- if and $v.terminationGracePeriodSeconds (lt (int $v.terminationGracePeriodSeconds) (include "facegate.drainSeconds" . | int)) -}}
{{-   $problems = append $problems (printf "terminationGracePeriodSeconds: the drain needs %s s: raise it, or lower config.server.drain_seconds" (include "facegate.drainSeconds" .)) -}}
{{- end -}}
{{- if and $v.test.tokenSecret.name $v.test.audience -}}
{{-   $problems = append $problems "test: tokenSecret and audience are two credentials: remove one of them" -}}
{{- end -}}
{{- range $tenant := $v.tenants -}}
{{-   range default list $tenant.principals -}}
{{-     if and .spiffe_id (not $v.tls.clientCa.configMapName) -}}
{{-       $problems = append $problems (printf "tenants: %s has a spiffe_id, but no client certificates are asked for: set tls.clientCa.configMapName" $tenant.id) -}}
{{-     end -}}
{{-     if and .jwt_issuer (not (has .jwt_issuer $issuers)) -}}
{{-       $problems = append $problems (printf "tenants: %s trusts the issuer %s, which is not configured: add it to config.auth.jwt_issuers" $tenant.id .jwt_issuer) -}}
{{-     end -}}
{{-     if and (eq (default "" .token_sha256) (include "facegate.demoToken" $ | sha256sum)) (not $v.sandbox.enabled) -}}
{{-       $problems = append $problems (printf "tenants: %s has the sandbox's public token: make one by `facegate token new %s`" $tenant.id $tenant.id) -}}
{{-     end -}}
{{-   end -}}
{{- end -}}
{{- if $problems -}}
{{- fail (printf "\n\nThese values do not go together:\n  - %s\n" (join "\n  - " $problems)) -}}
{{- end -}}
{{- end -}}

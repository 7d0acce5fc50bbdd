{{/* Who calls, and how: values that do not go together. Parts of `facegate.check`. */}}
{{- define "facegate.check.tls" -}}
{{- $v := .Values -}}
{{- $tls := include "facegate.tlsSecret" . -}}
{{- if not (or $tls $v.tls.insecure $v.sandbox.enabled) }}
tls: tokens and face images would cross the network in plaintext: set tls.secretName or certificate.enabled=true, or tls.insecure=true where a mesh encrypts
{{- end }}
{{- if and $tls $v.tls.insecure }}
tls.insecure: is true beside a certificate: remove one of them
{{- end }}
{{- if and $v.tls.clientCa.configMapName (not $tls) }}
tls.clientCa: needs TLS: set tls.secretName or certificate.enabled=true
{{- end }}
{{- if and $tls (eq $v.service.appProtocol "kubernetes.io/h2c") }}
service.appProtocol: kubernetes.io/h2c is plaintext, and the listener has a certificate: set it to grpc or http2
{{- end }}
{{- end -}}

{{- define "facegate.check.tenants" -}}
{{- $v := .Values -}}
{{- $issuers := list -}}
{{- range (default dict $v.config.auth).jwt_issuers -}}{{- $issuers = append $issuers .issuer -}}{{- end -}}
{{- $domain := (default dict $v.config.auth).spiffe_trust_domain -}}
{{- if not (or $v.tenants $v.sandbox.enabled) }}
tenants: is empty: every call would be refused; name at least one tenant
{{- end }}
{{- range include "facegate.twice" (dict "of" $v.tenants "by" "id") | fromJsonArray }}
tenants: {{ . }} is the id of two: rename one
{{- end }}
{{- $seen := dict }}
{{- range $tenant := $v.tenants }}
{{- range $key := list "true" "false" }}
{{- if hasKey (default dict $tenant.face_sets) $key }}
tenants: {{ $tenant.id }} has a face set named {{ $key }}, which YAML makes of y, yes and on, or of n, no and off: put the name in quotes
{{- end }}
{{- end }}
{{- range default list $tenant.principals }}
{{- $key := toJson . }}
{{- if hasKey $seen $key }}
tenants: {{ $tenant.id }} has a principal that {{ index $seen $key }} has too: a credential belongs to one tenant, once
{{- end }}
{{- $_ := set $seen $key $tenant.id }}
{{- if or (ne (len (compact (list .token_sha256 .jwt_issuer .spiffe_id))) 1) (ne (empty .jwt_issuer) (empty .jwt_subject)) }}
tenants: {{ $tenant.id }} has a principal that is not exactly one of token_sha256, jwt_issuer with jwt_subject, or spiffe_id
{{- end }}
{{- if and .spiffe_id (not $v.tls.clientCa.configMapName) }}
tenants: {{ $tenant.id }} has a spiffe_id, but no client certificates are asked for: set tls.clientCa.configMapName
{{- end }}
{{- if and .spiffe_id $domain (not (hasPrefix (printf "spiffe://%s/" $domain) .spiffe_id)) }}
tenants: {{ $tenant.id }} has a spiffe_id outside config.auth.spiffe_trust_domain ({{ $domain }})
{{- end }}
{{- if and .jwt_issuer (not (has .jwt_issuer $issuers)) }}
tenants: {{ $tenant.id }} trusts the issuer {{ .jwt_issuer }}, which is not configured: add it to config.auth.jwt_issuers
{{- end }}
{{- if and (eq (default "" .token_sha256) (include "facegate.demoToken" $ | sha256sum)) (not $v.sandbox.enabled) }}
tenants: {{ $tenant.id }} has the sandbox's public token: make one by `facegate token new {{ $tenant.id }}`
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "facegate.check.issuers" -}}
{{- $v := .Values -}}
{{- $issuers := default list (default dict $v.config.auth).jwt_issuers -}}
{{- range include "facegate.twice" (dict "of" $issuers "by" "issuer") | fromJsonArray }}
config.auth.jwt_issuers: {{ . }} is there twice: remove one
{{- end }}
{{- range $issuers }}
{{- if eq (empty .jwks_url) (empty .jwks_file) }}
config.auth.jwt_issuers: {{ .issuer }} needs exactly one of jwks_url and jwks_file
{{- end }}
{{- if and .jwks_file (not (hasPrefix "/etc/facegate/jwks/" .jwks_file)) }}
config.auth.jwt_issuers: {{ .jwks_file }} is not in the pod: put the keys into a ConfigMap, name it in jwks.configMapName, and the file /etc/facegate/jwks/KEY
{{- else if and .jwks_file (not $v.jwks.configMapName) }}
config.auth.jwt_issuers: {{ .jwks_file }} is a key of a ConfigMap that is not named: set jwks.configMapName
{{- end }}
{{- end }}
{{- end -}}

{{- define "facegate.check.test" -}}
{{- $v := .Values -}}
{{- $audiences := list -}}
{{- range (default dict $v.config.auth).jwt_issuers -}}{{- $audiences = append $audiences .audience -}}{{- end -}}
{{- $credential := or $v.test.tokenSecret.name $v.test.audience -}}
{{- if and $v.test.tokenSecret.name $v.test.audience }}
test: tokenSecret and audience are two credentials: remove one of them
{{- end }}
{{- if and $v.test.audience (not (has $v.test.audience $audiences)) }}
test.audience: {{ $v.test.audience }} is the audience of none of config.auth.jwt_issuers
{{- end }}
{{- if and $v.test.faceSet (not (or $credential (include "facegate.isDemo" .))) }}
test.faceSet: a search needs a credential: set test.tokenSecret.name or test.audience
{{- end }}
{{- if and $v.tls.clientCa.configMapName (or $credential $v.test.faceSet) }}
test: callers need a certificate (tls.clientCa), which the test pod has not: remove what is set of it
{{- end }}
{{- end -}}

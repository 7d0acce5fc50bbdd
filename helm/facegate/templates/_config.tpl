{{/* The gateway's settings save the tenants: it reads these at its start only, so a change of them rolls the pods. */}}
{{- define "facegate.settings" -}}
{{- $values := .Values -}}
{{- $config := deepCopy .Values.config -}}
{{- $bind := .Values.bindAddress -}}
{{- $server := default dict $config.server -}}
{{- $_ := set $server "listen" (printf "%s:50051" $bind) -}}
{{- $_ := set $server "health_listen" (printf "%s:50052" $bind) -}}
{{- if include "facegate.tlsSecret" . -}}
{{-   $tls := dict "cert_file" "/etc/facegate/tls/tls.crt" "key_file" "/etc/facegate/tls/tls.key" -}}
{{-   if $values.tls.clientCa.configMapName -}}
{{-     $_ := set $tls "client_ca_file" "/etc/facegate/client-ca/ca.crt" -}}
{{-   end -}}
{{-   $_ := set $server "tls" $tls -}}
{{- else -}}
{{-   $_ := set $server "insecure" true -}}
{{- end -}}
{{- $upstream := default dict $config.upstream -}}
{{- if $values.sandbox.enabled -}}
{{-   $_ := set $upstream "base_url" "http://127.0.0.1:8080" -}}
{{-   $_ := set $upstream "credentials" (list (dict "name" "sandbox" "api_id_env" "SANDBOX_API_ID" "api_secret_env" "SANDBOX_API_SECRET")) -}}
{{- else -}}
{{-   $credentials := list -}}
{{-   range $values.credentials -}}
{{-     $folder := printf "/etc/facegate/credentials/%s" .name -}}
{{-     $credentials = append $credentials (dict "name" .name "api_id_file" (printf "%s/api_id" $folder) "api_secret_file" (printf "%s/api_secret" $folder)) -}}
{{-   end -}}
{{-   $_ := set $upstream "credentials" $credentials -}}
{{- end -}}
{{- if $values.upstreamCa.configMapName -}}
{{-   $_ := set $upstream "ca_file" "/etc/facegate/upstream-ca/ca.crt" -}}
{{- end -}}
{{- $stores := dict "quota" (include "facegate.quotaStore" .) "cache" (include "facegate.cacheStore" .) -}}
{{- if $values.stores.quota.passwordSecret.name -}}
{{-   $_ := set $stores "quota_password_file" "/etc/facegate/quota-store/password" -}}
{{- end -}}
{{- if $values.stores.cache.passwordSecret.name -}}
{{-   $_ := set $stores "cache_password_file" "/etc/facegate/cache-store/password" -}}
{{- end -}}
{{- if $values.stores.sealingKey.secretName -}}
{{-   $_ := set $stores "key_file" "/etc/facegate/sealing-key/key" -}}
{{- end -}}
{{- if $values.stores.ca.configMapName -}}
{{-   $_ := set $stores "ca_file" "/etc/facegate/stores-ca/ca.crt" -}}
{{- end -}}
{{- $quota := default dict $config.quota -}}
{{- $_ := set $quota "expected_replicas" (include "facegate.replicas" . | int) -}}
{{- $ops := dict "listen" (printf "%s:9464" $bind) -}}
{{- toYaml (merge (dict "server" $server "ops" $ops "upstream" $upstream "stores" $stores "quota" $quota) $config) -}}
{{- end -}}

{{- define "facegate.tenants" -}}
{{- if include "facegate.isDemo" . -}}
{{- $principal := dict "token_sha256" (include "facegate.demoToken" . | sha256sum) -}}
{{- toYaml (list (dict "id" "demo" "principals" (list $principal) "face_sets" (dict "demo" "demo" "visitors" "visitors"))) -}}
{{- else -}}
{{- toYaml .Values.tenants -}}
{{- end -}}
{{- end -}}

{{- define "facegate.quotaStore" -}}
{{- if .Values.valkey.quota.enabled -}}
{{- printf "valkey://%s-valkey-quota:6379/0" (include "facegate.fullname" .) -}}
{{- else -}}
{{- .Values.stores.quota.url -}}
{{- end -}}
{{- end -}}

{{- define "facegate.cacheStore" -}}
{{- if .Values.valkey.cache.enabled -}}
{{- printf "valkey://%s-valkey-cache:6379/0" (include "facegate.fullname" .) -}}
{{- else -}}
{{- .Values.stores.cache.url -}}
{{- end -}}
{{- end -}}

{{/* Everything that is mounted below /etc/facegate: folder, and the Secret or ConfigMap with the keys to show as files. */}}
{{- define "facegate.mounts" -}}
- {folder: config, configMap: {{ include "facegate.fullname" . | quote }}}
{{- if not .Values.sandbox.enabled }}
{{- range .Values.credentials }}
- folder: {{ printf "credentials/%s" .name | quote }}
  secret: {{ .secretName | quote }}
  items: {api_id: {{ default "api_id" .idKey | quote }}, api_secret: {{ default "api_secret" .secretKey | quote }}}
{{- end }}
{{- end }}
{{- if .Values.upstreamCa.configMapName }}
- {folder: upstream-ca, configMap: {{ .Values.upstreamCa.configMapName | quote }}, items: {ca.crt: {{ .Values.upstreamCa.key | quote }}}}
{{- end }}
{{- with include "facegate.tlsSecret" . }}
- {folder: tls, secret: {{ quote . }}, items: {tls.crt: tls.crt, tls.key: tls.key}}
{{- end }}
{{- if .Values.tls.clientCa.configMapName }}
- {folder: client-ca, configMap: {{ .Values.tls.clientCa.configMapName | quote }}, items: {ca.crt: {{ .Values.tls.clientCa.key | quote }}}}
{{- end }}
{{- if .Values.jwks.configMapName }}
- {folder: jwks, configMap: {{ .Values.jwks.configMapName | quote }}}
{{- end }}
{{- if .Values.stores.quota.passwordSecret.name }}
- {folder: quota-store, secret: {{ .Values.stores.quota.passwordSecret.name | quote }}, items: {password: {{ .Values.stores.quota.passwordSecret.key | quote }}}}
{{- end }}
{{- if .Values.stores.cache.passwordSecret.name }}
- {folder: cache-store, secret: {{ .Values.stores.cache.passwordSecret.name | quote }}, items: {password: {{ .Values.stores.cache.passwordSecret.key | quote }}}}
{{- end }}
{{- if .Values.stores.sealingKey.secretName }}
- {folder: sealing-key, secret: {{ .Values.stores.sealingKey.secretName | quote }}, items: {key: {{ .Values.stores.sealingKey.key | quote }}}}
{{- end }}
{{- if .Values.stores.ca.configMapName }}
- {folder: stores-ca, configMap: {{ .Values.stores.ca.configMapName | quote }}, items: {ca.crt: {{ .Values.stores.ca.key | quote }}}}
{{- end }}
{{- end -}}

{{/*
What the schema cannot say: values that do not go together. Each part writes a line a problem, with the remedy; all of them
make one message.
*/}}
{{- define "facegate.check" -}}
{{- $parts := list "upstream" "tls" "tenants" "issuers" "stores" "scale" "network" "objects" "labels" "test" -}}
{{- $problems := list -}}
{{- range $part := $parts -}}
{{-   range splitList "\n" (include (printf "facegate.check.%s" $part) $) -}}
{{-     if trim . -}}{{- $problems = append $problems (trim .) -}}{{- end -}}
{{-   end -}}
{{- end -}}
{{- if $problems -}}
{{- fail (printf "\n\nThese values do not go together:\n  - %s\n" (join "\n  - " $problems)) -}}
{{- end -}}
{{- end -}}

{{- define "facegate.check.upstream" -}}
{{- $v := .Values -}}
{{- if $v.sandbox.enabled }}
{{- if $v.credentials }}
credentials: are given, but searches go to the sandbox: set sandbox.enabled=false
{{- end }}
{{- if (default dict $v.config.upstream).base_url }}
config.upstream.base_url: is given, but searches go to the sandbox: set sandbox.enabled=false
{{- end }}
{{- else }}
{{- if not $v.credentials }}
credentials: is empty: name a Secret with the vendor's API id and secret, or set sandbox.enabled=true
{{- end }}
{{- if hasPrefix "http://" (default "" (default dict $v.config.upstream).base_url) }}
config.upstream.base_url: credentials and face images would cross the network in plaintext: it begins with https://
{{- end }}
{{- end }}
{{- range include "facegate.twice" (dict "of" $v.credentials "by" "name") | fromJsonArray }}
credentials: {{ . }} is the name of two: rename one
{{- end }}
{{- end -}}

{{- define "facegate.check.scale" -}}
{{- $v := .Values -}}
{{- $replicas := include "facegate.replicas" . -}}
{{- if and (gt (int $replicas) 1) (eq (include "facegate.quotaStore" .) "memory://") }}
stores.quota.url: {{ $replicas }} gateways with a store of their own each would admit {{ $replicas }} times every limit: name a shared store, or valkey.quota.enabled=true for a trial
{{- end }}
{{- if and $v.autoscaling.enabled $v.autoscaling.external }}
autoscaling.external: another controller sets the number already: set autoscaling.enabled=false
{{- end }}
{{- if $v.autoscaling.enabled }}
{{- if gt (int $v.autoscaling.minReplicas) (int $v.autoscaling.maxReplicas) }}
autoscaling.minReplicas: is above autoscaling.maxReplicas
{{- end }}
{{- if not (or $v.autoscaling.cpuUtilization $v.autoscaling.callsInFlight) }}
autoscaling: has no measure: set cpuUtilization or callsInFlight
{{- end }}
{{- $cpu := or (default dict $v.resources.requests).cpu (default dict $v.resources.limits).cpu }}
{{- if and $v.autoscaling.cpuUtilization (not $cpu) }}
autoscaling.cpuUtilization: is a share of a request that is not there: set resources.requests.cpu
{{- end }}
{{- end }}
{{- $drain := include "facegate.drainSeconds" . }}
{{- if and $v.terminationGracePeriodSeconds (lt (int $v.terminationGracePeriodSeconds) (int $drain)) }}
terminationGracePeriodSeconds: the drain needs {{ $drain }} s: raise it, or lower config.server.drain_seconds
{{- end }}
{{- end -}}

{{- define "facegate.check.objects" -}}
{{- $v := .Values -}}
{{- range $place, $image := dict "image" $v.image "sandbox.image" $v.sandbox.image }}
{{- if regexMatch "(:[^/]*|@.*)$" $image.repository }}
{{ $place }}.repository: holds a tag or a digest: move it to {{ $place }}.tag or {{ $place }}.digest
{{- end }}
{{- end }}
{{- if and $v.serviceMonitor.enabled $v.podMonitor.enabled }}
podMonitor.enabled: every gateway would be read twice: set serviceMonitor.enabled=false
{{- end }}
{{- if and (has "IPv6" $v.service.ipFamilies) (eq $v.bindAddress "0.0.0.0") }}
bindAddress: 0.0.0.0 takes no IPv6, which service.ipFamilies asks for: set it to "[::]", which takes both
{{- end }}
{{- range $v.extraVolumeMounts }}
{{- if or (eq .mountPath "/etc/facegate") (hasPrefix "/etc/facegate/" .mountPath) }}
extraVolumeMounts: {{ .mountPath }} is the chart's own folder: choose another path
{{- end }}
{{- end }}
{{- range $v.extraEnv }}
{{- if hasPrefix "FACEGATE_" .name }}
extraEnv: {{ .name }} would be a setting that no checksum covers: set it below `config`
{{- end }}
{{- end }}
{{- if not (regexMatch "^[a-z]" (include "facegate.fullname" .)) }}
fullnameOverride: the name of a Service begins with a letter, the release's name does not: set a name that does
{{- end }}
{{- if and $v.certificate.enabled (not $v.certificate.issuerRef.name) }}
certificate.issuerRef.name: is required with certificate.enabled
{{- end }}
{{- if and $v.grpcRoute.enabled (not $v.grpcRoute.parentRefs) }}
grpcRoute.parentRefs: is required with grpcRoute.enabled: name a Gateway
{{- end }}
{{- if $v.externalSecrets.enabled }}
{{- if not $v.externalSecrets.storeRef.name }}
externalSecrets.storeRef.name: is required with externalSecrets.enabled
{{- end }}
{{- if not $v.externalSecrets.secrets }}
externalSecrets.secrets: is empty: name a Secret to make
{{- end }}
{{- end }}
{{- range include "facegate.twice" (dict "of" $v.externalSecrets.secrets "by" "name") | fromJsonArray }}
externalSecrets.secrets: {{ . }} is made twice: rename one
{{- end }}
{{- end -}}

{{/* Selectors depend on the labels that the chart writes, and a label that is written twice is refused by the API server. */}}
{{- define "facegate.check.labels" -}}
{{- $v := .Values -}}
{{- $own := include "facegate.ownLabels" (dict "root" . "component" "gateway") | fromYaml -}}
{{- $_ := merge $own (dict "facegate-headless" "" "facegate-store" "" $v.networkPolicy.clientLabel "") -}}
{{- $common := default dict $v.commonLabels -}}
{{- range $place, $labels := dict "commonLabels" $common "podLabels" $v.podLabels "serviceMonitor.labels" $v.serviceMonitor.labels "prometheusRule.labels" $v.prometheusRule.labels "dashboards.labels" $v.dashboards.labels }}
{{- range $key, $_ := $labels }}
{{- if hasKey $own $key }}
{{ $place }}: {{ $key }} is a label of the chart's own: remove it
{{- else if and (ne $place "commonLabels") (hasKey $common $key) }}
{{ $place }}: {{ $key }} is in commonLabels too: remove one of them
{{- end }}
{{- end }}
{{- end }}
{{- range $key := list "checksum/settings" "kubectl.kubernetes.io/default-container" }}
{{- if hasKey (default dict $v.podAnnotations) $key }}
podAnnotations: {{ $key }} is an annotation of the chart's own: remove it
{{- end }}
{{- end }}
{{- end -}}

{{/* The values of a key that more than one entry of a list has, as a JSON list. Arguments: of, by. */}}
{{- define "facegate.twice" -}}
{{- $by := .by -}}
{{- $seen := dict -}}
{{- $twice := list -}}
{{- range .of -}}
{{-   $value := toString (index . $by) -}}
{{-   if hasKey $seen $value -}}{{- $twice = append $twice $value -}}{{- end -}}
{{-   $_ := set $seen $value true -}}
{{- end -}}
{{- uniq $twice | toJson -}}
{{- end -}}

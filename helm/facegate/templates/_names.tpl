{{- define "facegate.name" -}}
{{- default "facegate" .Values.nameOverride -}}
{{- end -}}

{{/* At most 42 characters, so that suffixes keep it below the 63 of a DNS label. */}}
{{- define "facegate.fullname" -}}
{{- $name := include "facegate.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 42 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 42 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "facegate.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "facegate.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "facegate.image" -}}
{{- include "facegate.imageOf" (dict "root" . "repository" .Values.image.repository "tag" .Values.image.tag "digest" .Values.image.digest) -}}
{{- end -}}

{{- define "facegate.sandboxImage" -}}
{{- include "facegate.imageOf" (dict "root" . "repository" .Values.sandbox.image.repository "tag" .Values.sandbox.image.tag "digest" .Values.sandbox.image.digest) -}}
{{- end -}}

{{/*
An image's reference. Arguments: root, repository, tag, digest. The first part of a repository is a registry if it holds a dot or a colon, or is
`localhost`.
*/}}
{{- define "facegate.imageOf" -}}
{{- $repository := include "facegate.atRegistry" (dict "root" .root "image" .repository) -}}
{{- if .digest -}}
{{- printf "%s@%s" $repository .digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .root.Chart.AppVersion .tag) -}}
{{- end -}}
{{- end -}}

{{/* An image at the registry that all charts share, if there is one. Arguments: root, image. */}}
{{- define "facegate.atRegistry" -}}
{{- $registry := (default dict .root.Values.global).imageRegistry -}}
{{- if $registry -}}
{{-   $parts := splitList "/" .image -}}
{{-   if and (gt (len $parts) 1) (regexMatch "[.:]|^localhost$" (first $parts)) -}}{{- $parts = rest $parts -}}{{- end -}}
{{-   printf "%s/%s" (trimSuffix "/" $registry) (join "/" $parts) -}}
{{- else -}}
{{-   .image -}}
{{- end -}}
{{- end -}}

{{/* The Secrets with registries' credentials, as a JSON list of objects with a name. */}}
{{- define "facegate.pullSecrets" -}}
{{- $secrets := list -}}
{{- range concat (default list .Values.image.pullSecrets) (default list (default dict .Values.global).imagePullSecrets) -}}
{{-   $name := . -}}
{{-   if kindIs "map" . -}}{{- $name = .name -}}{{- end -}}
{{-   $secrets = append $secrets (dict "name" (toString $name)) -}}
{{- end -}}
{{- uniq $secrets | toJson -}}
{{- end -}}

{{/* The labels that selectors use: they never change. Arguments: root, component. */}}
{{- define "facegate.selector" -}}
app.kubernetes.io/name: {{ include "facegate.name" .root | quote }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "facegate.ownLabels" -}}
{{ include "facegate.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{- define "facegate.labels" -}}
{{ include "facegate.ownLabels" . }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The Secret of the listener's certificate; empty without TLS. */}}
{{- define "facegate.tlsSecret" -}}
{{- if .Values.tls.secretName -}}
{{- .Values.tls.secretName -}}
{{- else if .Values.certificate.enabled -}}
{{- printf "%s-tls" (include "facegate.fullname" .) -}}
{{- end -}}
{{- end -}}

{{/* Most gateways that can run at once. */}}
{{- define "facegate.replicas" -}}
{{- if or .Values.autoscaling.enabled .Values.autoscaling.external -}}{{ .Values.autoscaling.maxReplicas }}{{- else -}}{{ .Values.replicaCount }}{{- end -}}
{{- end -}}

{{/* Seconds that a pod needs to end: the drain, then searches already sent to the vendor, and 5 to flush. */}}
{{- define "facegate.drainSeconds" -}}
{{- $upstream := default dict .Values.config.upstream -}}
{{- $timeout := default 10 $upstream.timeout_seconds -}}
{{- $server := default dict .Values.config.server -}}
{{- addf .Values.preStopSeconds (dig "lame_duck_seconds" 0 $server) (dig "drain_seconds" 25 $server) $timeout 5 | ceil | int -}}
{{- end -}}

{{/* "restricted" of the Pod Security Standards unless values say otherwise, for a container of any image here. */}}
{{- define "facegate.containerSecurity" -}}
{{- toYaml .Values.securityContext -}}
{{- end -}}

{{- define "facegate.podSecurity" -}}
{{- toYaml .Values.podSecurityContext -}}
{{- end -}}

{{- define "facegate.relabelings" -}}
# Alerts and dashboards find the gateways by their job, whatever this release is called.
relabelings:
  - {action: replace, targetLabel: job, replacement: {{ .Values.prometheusRule.job | quote }}}
  {{- with .Values.serviceMonitor.relabelings }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .Values.serviceMonitor.metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* What the tenant of a trial calls with. It is as public as the sandbox's own pair, and exists beside it only. */}}
{{- define "facegate.demoToken" -}}
sandbox-token-that-opens-nothing
{{- end -}}

{{- define "facegate.isDemo" -}}
{{- if and .Values.sandbox.enabled (not .Values.tenants) -}}true{{- end -}}
{{- end -}}

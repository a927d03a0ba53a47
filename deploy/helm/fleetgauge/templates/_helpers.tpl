{{- define "fleetgauge.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "fleetgauge.fullname" -}}
{{- $name := include "fleetgauge.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Of what belongs to no namespace: releases of one name may be in several. */}}
{{- define "fleetgauge.clusterName" -}}
{{- printf "%s-%s" (include "fleetgauge.fullname" .) .Release.Namespace -}}
{{- end -}}

{{- define "fleetgauge.selectorLabels" -}}
app.kubernetes.io/name: {{ include "fleetgauge.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "fleetgauge.labels" -}}
{{ include "fleetgauge.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "fleetgauge.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "fleetgauge.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* Not empty where the daemon watches a cluster. */}}
{{- define "fleetgauge.watches" -}}
{{- if kindIs "map" .Values.config.kubernetes -}}true{{- end -}}
{{- end -}}

{{/* Not empty where the daemon asks the API server by its service account. */}}
{{- define "fleetgauge.usesAccount" -}}
{{- if and (include "fleetgauge.watches" .) (not .Values.config.kubernetes.kubeconfig) -}}true{{- end -}}
{{- end -}}

{{/* The kinds that are watched for variants, as lower-case words between commas. */}}
{{- define "fleetgauge.variantKinds" -}}
{{- $all := list "ScaledObject" "HorizontalPodAutoscaler" "VariantAutoscaling" -}}
{{- join "," (.Values.config.kubernetes.variant_kinds | default $all) -}}
{{- end -}}

{{/* Not empty where a source finds its targets behind Services. */}}
{{- define "fleetgauge.watchesServices" -}}
{{- range $source := .Values.config.sources -}}
{{- if kindIs "map" $source -}}
{{- range $discovery := (dig "scrape" "discovery" list $source) -}}
{{- if hasKey $discovery "services" -}}true{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "fleetgauge.tlsSecret" -}}
{{- default (printf "%s-tls" (include "fleetgauge.fullname" .)) .Values.externalMetrics.tls.secretName -}}
{{- end -}}

{{/* Not empty where the group of the APIService `name` is to be ours. */}}
{{- define "fleetgauge.ownsGroup" -}}
{{- $root := .root -}}
{{- $wanted := toString .wanted -}}
{{- if not $root.Values.externalMetrics.enabled -}}
{{- else if eq $wanted "auto" -}}
{{- $found := lookup "apiregistration.k8s.io/v1" "APIService" "" .name -}}
{{- $service := dig "spec" "service" dict $found | default dict -}}
{{- if or (not $found) (and (eq (dig "name" "" $service) (include "fleetgauge.fullname" $root)) (eq (dig "namespace" "" $service) $root.Release.Namespace)) -}}true{{- end -}}
{{- else if eq $wanted "true" -}}true
{{- end -}}
{{- end -}}

{{/* The doors, of which a change asks for other pods: they are opened at the start alone. */}}
{{- define "fleetgauge.doors" -}}
{{- $address := .Values.listenAddress -}}
{{- $server := dict "listen" (printf "%s:%d" $address (int .Values.server.port)) -}}
{{- if .Values.server.tls.secretName -}}
{{- $_ := set $server "tls" (dict "cert_file" "../server-tls/tls.crt" "key_file" "../server-tls/tls.key") -}}
{{- else -}}
{{- $_ := set $server "insecure" true -}}
{{- end -}}
{{- $doors := dict "server" (mergeOverwrite $server (deepCopy (.Values.config.server | default dict))) -}}
{{- if .Values.keda.enabled -}}
{{- $keda := dict "listen" (printf "%s:%d" $address (int .Values.keda.port)) -}}
{{- if .Values.keda.tls.secretName -}}
{{- $tls := dict "cert_file" "../keda-tls/tls.crt" "key_file" "../keda-tls/tls.key" -}}
{{- if .Values.keda.tls.requireClientCertificate -}}{{- $_ := set $tls "client_ca_file" "../keda-tls/ca.crt" -}}{{- end -}}
{{- $_ := set $keda "tls" $tls -}}
{{- else -}}
{{- $_ := set $keda "insecure" true -}}
{{- end -}}
{{- $_ := set $doors "keda" (mergeOverwrite $keda (deepCopy (.Values.config.keda | default dict))) -}}
{{- end -}}
{{- if .Values.externalMetrics.enabled -}}
{{- $tls := dict "cert_file" "../tls/tls.crt" "key_file" "../tls/tls.key" -}}
{{- $_ := set $doors "external_metrics" (dict "listen" (printf "%s:6443" $address) "tls" $tls) -}}
{{- end -}}
{{- toYaml $doors -}}
{{- end -}}

{{- define "fleetgauge.config" -}}
{{- $doors := include "fleetgauge.doors" . | fromYaml -}}
{{- toYaml (merge $doors (omit .Values.config "server" "keda" "external_metrics")) -}}
{{- end -}}

{{/* What cannot be right together. */}}
{{- define "fleetgauge.check" -}}
{{- range $door := list "server" "keda" -}}
{{- $section := index $.Values.config $door | default dict -}}
{{- range $field := list "listen" "insecure" "tls" -}}
{{- if hasKey $section $field -}}
{{- fail (printf "config.%s.%s is said by the chart: use listenAddress and %s.port, %s.tls" $door $field $door $door) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if .Values.config.external_metrics -}}
{{- fail "config.external_metrics is said by the chart: use externalMetrics" -}}
{{- end -}}
{{- if and .Values.config.keda (not .Values.keda.enabled) -}}
{{- fail "config.keda says something of KEDA's door, which is not open: set keda.enabled" -}}
{{- end -}}
{{- if and .Values.externalMetrics.enabled (not (include "fleetgauge.watches" .)) -}}
{{- fail "externalMetrics asks the cluster who may see what, and config.kubernetes is not set: set it to {}, or externalMetrics.enabled to false" -}}
{{- end -}}
{{- with .Values.externalMetrics.tls -}}
{{- if and .secretName .certManager.enabled -}}
{{- fail "externalMetrics.tls has two certificates: secretName is one of yours, and certManager asks for another one" -}}
{{- end -}}
{{- if and .secretName (not .caBundle) -}}
{{- fail "externalMetrics.tls.secretName is a certificate of yours: the API server has to know who has signed it, set externalMetrics.tls.caBundle" -}}
{{- end -}}
{{- if and .caBundle (not .secretName) -}}
{{- fail "externalMetrics.tls.caBundle is that of secretName, which is not set" -}}
{{- end -}}
{{- end -}}
{{- range $name, $_ := .Values.packs -}}
{{- if eq $name "fleetgauge.yaml" -}}
{{- fail "packs has a file fleetgauge.yaml, which is the configuration itself: choose another name" -}}
{{- end -}}
{{- end -}}
{{- end -}}

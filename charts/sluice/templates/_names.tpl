{{/* Names and labels of every object. */}}

{{/* sluice.fullname is the first word of every object's name. What is added to it has 17 letters at most (-nats-headless and a pod's
ordinal), and a label may have 63. */}}
{{- define "sluice.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 45 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 45 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 45 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* sluice.selector is what tells the pods of one component of one release from all others: dict "root" . "component" "gateway". */}}
{{- define "sluice.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* sluice.labels are those of every object of a component. */}}
{{- define "sluice.labels" -}}
{{ include "sluice.selector" . }}
app.kubernetes.io/part-of: sluice
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{/* sluice.metadata is name, namespace and labels of an object: dict "root" . "component" "gateway", and "suffix" where the name is not
that of the component. */}}
{{- define "sluice.metadata" -}}
name: {{ include "sluice.fullname" .root }}-{{ default .component .suffix }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "sluice.labels" . | nindent 2 }}
{{- end -}}

{{/* sluice.nats.secretName is the Secret with the passwords of the included NATS. */}}
{{- define "sluice.nats.secretName" -}}
{{- default (printf "%s-nats-users" (include "sluice.fullname" .)) .Values.nats.existingSecret -}}
{{- end -}}

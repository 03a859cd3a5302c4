{{/* sluice.credentials.hook: the passwords of the NATS users are made before the first install, and those that are missing before an upgrade, which
may bring a further user. Helm deletes what a hook has created when the last of them has succeeded, and before it creates it anew. */}}
{{- define "sluice.credentials.hook" -}}
helm.sh/hook: pre-install,pre-upgrade
helm.sh/hook-weight: {{ .weight | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}

{{/* sluice.credentials.made says whether the chart makes the Secret. */}}
{{- define "sluice.credentials.made" -}}
{{- if and .Values.nats.enabled (not .Values.nats.existingSecret) }}true{{ end -}}
{{- end -}}

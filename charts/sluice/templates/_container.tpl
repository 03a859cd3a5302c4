{{/* What the containers of our services have in common: dict "root" . "component" "gateway" "values" .Values.gateway
"port" the named port that is probed. */}}

{{- define "sluice.commonArgs" -}}
- --ops-listen=:5001
- --log-level={{ .root.Values.log.level }}
- --log-format={{ .root.Values.log.format }}
{{ include "sluice.bus.args" . }}
{{- end -}}

{{- define "sluice.container" -}}
{{ include "sluice.image" . }}
{{- with .values.extraEnv }}
env:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- include "sluice.containerSecurity" . | nindent 2 }}
{{ include "sluice.probes" . }}
{{- with .values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with include "sluice.bus.volumeMounts" . | trim }}
volumeMounts:
  {{- . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "sluice.volumes" -}}
{{- with include "sluice.bus.volumes" . | trim -}}
volumes:
  {{- . | nindent 2 }}
{{- end }}
{{- end -}}

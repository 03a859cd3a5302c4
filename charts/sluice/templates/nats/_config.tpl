{{/* The configuration of the included NATS server. Passwords stay in the environment: sluice.nats.env. */}}

{{- define "sluice.nats.config" -}}
server_name: $POD_NAME
listen: "0.0.0.0:4222"
# For probes and people: it says nothing that is secret and changes nothing.
http: "0.0.0.0:8222"

max_payload: {{ .Values.nats.maxPayload }}
max_connections: 10000
# A client that does not read is dropped after this, or when so much waits for it.
write_deadline: "10s"
max_pending: 64MiB
# A peer that is gone without a word is noticed within a minute.
ping_interval: "20s"
ping_max: 2
# The shortest that the server takes; the pod's grace period is longer.
lame_duck_grace_period: "5s"
lame_duck_duration: "30s"

jetstream: {
  store_dir: /data/jetstream
  max_file_store: {{ .Values.nats.maxFileStore }}
  # Nothing is kept in memory alone.
  max_memory_store: 64MiB
  # An acknowledged call is on disk, on most of the servers.
  sync_interval: always
}
{{- include "sluice.nats.cluster" . }}

{{ include "sluice.nats.accounts" . }}
{{ end -}}

{{- define "sluice.nats.cluster" -}}
{{- if gt (int .Values.nats.replicas) 1 }}

cluster: {
  name: "{{ include "sluice.fullname" . }}"
  listen: "0.0.0.0:6222"
  authorization: { user: route, password: $SLUICE_ROUTE_PASSWORD }
  routes: [
    {{- range $i := until (int .Values.nats.replicas) }}
    $SLUICE_ROUTE_{{ $i }}
    {{- end }}
  ]
}
{{- end }}
{{- end -}}

{{/* sluice.nats.passwords are the keys of the Secret with the passwords that the servers need. */}}
{{- define "sluice.nats.passwords" -}}
gateway dispatcher scaler {{ if .Values.jobrunner.enabled }}jobrunner {{ end }}client route
{{- end -}}

{{/* sluice.nats.env is the environment that nats.conf refers to. The server reads each value as configuration, so a password must begin
with a letter and have letters and digits only. A route has its password in its URL, which Kubernetes puts together. */}}
{{- define "sluice.nats.env" -}}
{{- $secret := include "sluice.nats.secretName" . -}}
{{- $fullname := include "sluice.fullname" . -}}
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
{{- range include "sluice.nats.passwords" . | splitList " " }}
- name: SLUICE_{{ upper . }}_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ $secret }}
      key: {{ . }}
{{- end }}
{{- if gt (int .Values.nats.replicas) 1 }}
{{- range $i := until (int .Values.nats.replicas) }}
- name: SLUICE_ROUTE_{{ $i }}
  value: nats-route://route:$(SLUICE_ROUTE_PASSWORD)@{{ $fullname }}-nats-{{ $i }}.{{ $fullname }}-nats-headless.{{ $.Release.Namespace }}.svc:6222
{{- end }}
{{- end }}
{{- end -}}

{{/* How our services reach NATS, each as a user of its own: dict "root" . "component" "gateway". */}}

{{- define "sluice.bus.args" -}}
{{- $v := .root.Values -}}
{{- if $v.nats.enabled -}}
- --nats=nats://{{ include "sluice.fullname" .root }}-nats:4222
- --nats-user={{ .component }}
- --nats-password-file=/etc/sluice/nats/password
- --stream-replicas={{ $v.nats.replicas }}
{{- else -}}
- --nats={{ $v.nats.external.url }}
{{- include "sluice.bus.login" . }}
{{- include "sluice.bus.tls" . }}
- --stream-replicas={{ $v.nats.external.streamReplicas }}
{{- end }}
- --prefix={{ $v.prefix }}
- --queue-limit={{ int64 $v.queue.limitPerFunction }}
- --job-queue-limit={{ int64 $v.queue.limitPerJob }}
- --storage-limit={{ include "sluice.bus.storageLimit" .root }}
- --publish-patience={{ $v.queue.publishPatience }}
- --idempotency-ttl={{ $v.queue.idempotencyTTL }}
{{- end -}}

{{- define "sluice.bus.login" -}}
{{- $external := .root.Values.nats.external -}}
{{- if eq $external.auth "password" }}
- --nats-user={{ get $external.users .component }}
- --nats-password-file=/etc/sluice/nats/password
{{- else if eq $external.auth "credentials" }}
- --nats-credentials=/etc/sluice/nats/credentials
{{- else if eq $external.auth "nkey" }}
- --nats-nkey=/etc/sluice/nats/nkey
{{- end }}
{{- end -}}

{{- define "sluice.bus.tls" -}}
{{- $tls := .root.Values.nats.external.tls -}}
{{- if $tls.existingSecret }}
- --nats-ca=/etc/sluice/nats-tls/ca.crt
{{- if $tls.clientCertificate }}
- --nats-cert=/etc/sluice/nats-tls/tls.crt
- --nats-key=/etc/sluice/nats-tls/tls.key
{{- end }}
{{- end }}
{{- end -}}

{{/* sluice.bus.storageLimit is in bytes; 0 is none. */}}
{{- define "sluice.bus.storageLimit" -}}
{{- if .Values.queue.storageLimit -}}
{{- include "sluice.bytes" .Values.queue.storageLimit -}}
{{- else if .Values.nats.enabled -}}
{{- div (mul (include "sluice.bytes" .Values.nats.maxFileStore | int64) 9) 10 -}}
{{- else -}}
0
{{- end -}}
{{- end -}}

{{/* sluice.bus.secret is the Secret and the file in which a service finds what it logs in with; empty when it does not. Each pod gets its own
key and no other. */}}
{{- define "sluice.bus.secret" -}}
{{- if .Values.nats.enabled -}}
{{ dict "name" (include "sluice.nats.secretName" .) "path" "password" | toJson }}
{{- else if ne .Values.nats.external.auth "none" -}}
{{ dict "name" .Values.nats.external.existingSecret "path" .Values.nats.external.auth | toJson }}
{{- else -}}
{}
{{- end -}}
{{- end -}}

{{- define "sluice.bus.volumes" -}}
{{- with include "sluice.bus.secret" .root | fromJson -}}
- name: nats-login
  secret:
    secretName: {{ .name }}
    defaultMode: 0444
    items:
      - key: {{ $.component }}
        path: {{ .path }}
{{- end }}
{{- $external := .root.Values.nats.external }}
{{- if and (not .root.Values.nats.enabled) $external.tls.existingSecret }}
- name: nats-tls
  secret:
    secretName: {{ $external.tls.existingSecret }}
    defaultMode: 0444
{{- end }}
{{- end -}}

{{- define "sluice.bus.volumeMounts" -}}
{{- if include "sluice.bus.secret" .root | fromJson -}}
- name: nats-login
  mountPath: /etc/sluice/nats
  readOnly: true
{{- end }}
{{- if and (not .root.Values.nats.enabled) .root.Values.nats.external.tls.existingSecret }}
- name: nats-tls
  mountPath: /etc/sluice/nats-tls
  readOnly: true
{{- end }}
{{- end -}}

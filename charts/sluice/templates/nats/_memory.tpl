{{/* sluice.nats.memory tells the server's garbage collector nine tenths of the container's memory limit; without it the server is killed when a
catch-up or a burst makes it grow. (Our services read the limit themselves.) */}}
{{- define "sluice.nats.memory" -}}
{{- $limit := dig "limits" "memory" "" .Values.nats.resources | toString -}}
{{- if regexMatch "^[0-9]+[MG]i$" $limit }}
- name: GOMEMLIMIT
  value: {{ div (mul (include "sluice.bytes" $limit | int64) 9) 10 | quote }}
{{- end }}
{{- end -}}
